// What somebody has begun to say of a pair, kept until it is sent: in this browser at once, on the server seconds later,
// for another browser. And other tabs with the same pair.
import { measureSeconds } from "./compare_time.js";
import { readToken } from "./kept_answers.js";

const KEEP_MS = 14 * 24 * 3600 * 1000;
const SAVE_MS = 3_000; // the server hears of it no more often
const LEAVING_BYTES = 60_000; // of what is sent by a page that is left; browsers take 64 KiB
const NOT_SAID = ["csrfmiddlewaretoken", "token", "seconds"];

const start = "plumbline.draft.";
const nameDraft = ({ user, token }) => `${start}${user}.${token}`;

/** All that the labeler says in a form: [[name, value], ...]. */
export const readFields = (form) => [...new FormData(form)].filter(([name]) => !NOT_SAID.includes(name));

/** What is said in the fields, whatever their order. */
const sumUp = (fields) => JSON.stringify(fields.filter(([, value]) => value).sort());

export const saysSomething = (form) => readFields(form).some(([, value]) => value);

export const fillFields = (form, fields) => {
  for (const control of form.elements) {
    if (!control.name || NOT_SAID.includes(control.name)) continue;
    const values = fields.filter(([name]) => name === control.name).map(([, value]) => value);
    if (["radio", "checkbox"].includes(control.type)) control.checked = values.includes(control.value);
    else if (values.length) control.value = values[0];
  }
};

// -- On the server ---------------------------------------------------------------------------------------------------

let known = ""; // what the server has of the pair on screen, summed up
let waiting = null; // {url, token, draft} that it has yet to hear of
let timer = 0;

/** Tells the server what it does not know yet; what cannot be delivered waits for the next occasion. */
export const tellServer = async (isLeaving = false) => {
  clearTimeout(timer);
  timer = 0;
  if (!waiting) return;
  const sent = waiting;
  waiting = null;
  known = sumUp(sent.draft.fields);
  const body = new URLSearchParams(sent.draft.fields);
  body.set("token", sent.token);
  body.set("seconds", sent.draft.seconds.toFixed(2));
  body.set("age", ((Date.now() - sent.draft.at) / 1000).toFixed(3));
  const keepalive = isLeaving && String(body).length < LEAVING_BYTES;
  const headers = { "X-CSRFToken": readToken() };
  const reply = await fetch(sent.url, { method: "POST", body, headers, keepalive }).catch(() => null);
  // Refused in words it would be so again. A login page is no receipt.
  if (![204, 409, 422].includes(reply?.status)) waiting ??= sent;
};

const tellSoon = ({ token, drafts }, draft) => {
  waiting = sumUp(draft.fields) === known ? null : { url: drafts, token, draft };
  if (waiting) timer ||= setTimeout(tellServer, SAVE_MS);
};

document.addEventListener("visibilitychange", () => { if (document.hidden) tellServer(true); });
window.addEventListener("pagehide", () => tellServer(true));

// -- In this browser -------------------------------------------------------------------------------------------------

export const saveDraft = (pair, form) => {
  const draft = { at: Date.now(), seconds: measureSeconds(), fields: readFields(form) };
  localStorage.setItem(nameDraft(pair), JSON.stringify(draft));
  tellSoon(pair, draft);
};

/** Fills in what was begun, here or elsewhere, whichever is newer; else, of an answer that is being changed, what it
 * said. Gives the draft, {seconds, fields}, or nothing where there is none. */
export const restoreDraft = (pair, form) => {
  const before = pair.begun ? JSON.parse(pair.begun) : [];
  const there = pair.draft ? JSON.parse(pair.draft) : null;
  const here = JSON.parse(localStorage.getItem(nameDraft(pair)));
  known = sumUp(there?.fields ?? before);
  // By ages, as the clocks of two machines differ.
  const isHere = here && (!there || Date.now() - here.at < there.age * 1000);
  const draft = isHere ? { seconds: 0, ...here } : there; // until November 2026 a draft had no seconds
  const fields = draft?.fields ?? before;
  if (fields.length) fillFields(form, fields);
  if (isHere && sumUp(fields) !== known) tellSoon(pair, draft);
  return sumUp(fields) === sumUp(before) ? null : draft;
};

/** While an answer is on its way the server is told no more of how it came about. */
export const holdDraft = () => {
  waiting = null;
  known = sumUp([]);
};

export const dropDraft = (pair) => {
  localStorage.removeItem(nameDraft(pair));
  if (waiting?.token === pair.token) waiting = null;
};

for (const key of Object.keys(localStorage).filter((name) => name.startsWith(start))) {
  if (Date.now() - JSON.parse(localStorage.getItem(key)).at > KEEP_MS) localStorage.removeItem(key);
}

// -- Other tabs ------------------------------------------------------------------------------------------------------

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
