// What somebody has begun to say of a pair, kept in this browser until it is sent; and other tabs with the same pair.

const KEEP_MS = 14 * 24 * 3600 * 1000;
const NOT_SAID = ["csrfmiddlewaretoken", "token", "seconds"];

const start = "plumbline.draft.";
const nameDraft = ({ user, token }) => `${start}${user}.${token}`;

/** All that the labeler says in a form: [[name, value], ...]. */
export const readFields = (form) => [...new FormData(form)].filter(([name]) => !NOT_SAID.includes(name));

export const fillFields = (form, fields) => {
  for (const control of form.elements) {
    if (!control.name || NOT_SAID.includes(control.name)) continue;
    const values = fields.filter(([name]) => name === control.name).map(([, value]) => value);
    if (["radio", "checkbox"].includes(control.type)) control.checked = values.includes(control.value);
    else if (values.length) control.value = values[0];
  }
};

export const saveDraft = (pair, form) =>
  localStorage.setItem(nameDraft(pair), JSON.stringify({ at: Date.now(), fields: readFields(form) }));

/** Fills in what was begun here, else what the server knows: of an answer that is being changed, what it said. */
export const restoreDraft = (pair, form) => {
  const draft = localStorage.getItem(nameDraft(pair));
  const fields = draft ? JSON.parse(draft).fields : pair.begun && JSON.parse(pair.begun);
  if (fields) fillFields(form, fields);
};

export const dropDraft = (pair) => localStorage.removeItem(nameDraft(pair));

for (const key of Object.keys(localStorage).filter((name) => name.startsWith(start))) {
  if (Date.now() - JSON.parse(localStorage.getItem(key)).at > KEEP_MS) localStorage.removeItem(key);
}

/** Tells other tabs of the same person which pair is shown or answered here, and `tell`s here what they say. */
export const watchTabs = (getPair, tell) => {
  const channel = new BroadcastChannel(`plumbline.compare.${getPair().user}`);
  const say = (what, token = getPair().token) => { if (token) channel.postMessage({ what, token }); };
  channel.addEventListener("message", ({ data }) => {
    if (data.token !== getPair().token) return;
    if (data.what === "answered") return tell("answeredElsewhere");
    tell("twoTabs");
    if (data.what === "shown") say("also");
  });
  return say;
};
