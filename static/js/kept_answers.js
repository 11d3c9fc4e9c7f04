// Answers on their way, kept on this device until the server has them. One entry for each token and person, so that
// neither another tab nor another person at the same browser overwrites or sends it.

const start = (user) => `plumbline.answer.${user}.`;

export const keep = (user, answer) => localStorage.setItem(start(user) + answer.token, JSON.stringify(answer));

export const forget = (user, token) => localStorage.removeItem(start(user) + token);

export const listKept = (user) =>
  Object.keys(localStorage)
    .filter((key) => key.startsWith(start(user)))
    .map((key) => JSON.parse(localStorage.getItem(key)));

/** The token of the session that the browser has now: it changes when somebody signs in again in another tab. */
export const readCsrfToken = () => /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1];

/** Sends an answer to a pair that is no longer on screen; true once it is stored, false if it must wait on. */
export const sendKept = async (user, answer) => {
  const body = new FormData();
  for (const name of ["token", "choice", "seconds"]) body.set(name, answer[name]);
  const headers = { "HX-Request": "true", ...JSON.parse(document.body.getAttribute("hx-headers")) };
  headers["X-CSRFToken"] = readCsrfToken() ?? headers["X-CSRFToken"];
  const reply = await fetch(answer.url, { method: "POST", body, headers }).catch(() => null);
  if (!reply?.headers.get("X-Compare-Desk")) return false;
  forget(user, answer.token); // stored, or refused in words: sending it again would change nothing
  return reply.ok;
};
