// Answers on their way, kept on this device until the server has them. One entry for each token and person, so that
// neither another tab nor another person at the same browser overwrites or sends it.

const start = (user) => `plumbline.answer.${user}.`;

export const keep = (user, answer) => localStorage.setItem(start(user) + answer.token, JSON.stringify(answer));

export const forget = (user, token) => localStorage.removeItem(start(user) + token);

export const listKept = (user) =>
  Object.keys(localStorage)
    .filter((key) => key.startsWith(start(user)))
    .map((key) => JSON.parse(localStorage.getItem(key)))
    // Until November 2026 an answer was kept as its choice alone.
    .map((answer) => ({ fields: [["choice", answer.choice]], ...answer }));

/** The token of the session that the browser has now: it changes when somebody signs in again in another tab. */
export const readCsrfToken = () => /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1];

/** The same, or where the browser has no cookie of it, what came with the page. */
export const readToken = () => readCsrfToken() ?? JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

/** Posts an answer as the page's form would; null where the server cannot be reached. */
export const post = (answer) => {
  const body = new URLSearchParams(answer.fields);
  for (const name of ["token", "seconds", "ahead"]) body.set(name, answer[name] ?? "");
  const headers = { "HX-Request": "true", "X-CSRFToken": readToken() };
  return fetch(answer.url, { method: "POST", body, headers, signal: AbortSignal.timeout(15_000) }).catch(() => null);
};

/** Sends an answer to a pair that is no longer on screen; true once it is stored, false if it must wait on. */
export const sendKept = async (user, answer) => {
  const reply = await post(answer);
  if (!reply?.headers.get("X-Compare-Desk")) return false;
  forget(user, answer.token); // stored, or refused in words: sending it again would change nothing
  return reply.ok;
};
