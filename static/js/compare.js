// The compare page's keys, focus, timing, and answers that survive a lost connection. The page works without this file.
import { fetchAhead, settle, showAhead, takeAhead } from "./compare_ahead.js";
import { forgetDiff, toggleDiff } from "./compare_diff.js";
import {
  dropDraft,
  fillFields,
  holdDraft,
  readFields,
  restoreDraft,
  saveDraft,
  saysSomething,
  tellServer,
  watchTabs,
} from "./compare_drafts.js";
import { getAction, getNumber, showKeys, startRemapping } from "./compare_keys.js";
import { startPanes, toggleEarlier, toggleLinked, toggleMarks } from "./compare_panes.js";
import { addSeconds, measureSeconds, restartTime } from "./compare_time.js";
import { forget, keep, listKept, post, readCsrfToken, sendKept } from "./kept_answers.js";

const HEARTBEAT_MS = 120_000;
const RETRY_MS = [2_000, 4_000, 8_000, 15_000, 30_000];

const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
const getDesk = () => document.getElementById("desk");
const getAnswerForm = () => document.getElementById("answer-form");
const getPair = () => getDesk().dataset;
const listAxes = () => [...document.querySelectorAll("#axes a")];
const getSheet = () => document.querySelector("[popover]:popover-open");

const DOUBLE_MS = 400; // a second press within this time belongs to the first

let active = false;
let failures = 0;
let retryTimer = 0;
// {answer, next, form, axis}: an answer on its way, the pair shown meanwhile, and what waits until that pair is ours.
let pending = null;

// -- What the labeler is told ----------------------------------------------------------------------------------------

const tell = (reason) => {
  connection.querySelector("span").textContent = connection.dataset[reason];
  connection.querySelector("button").hidden = !["offline", "signedOut", "unreached"].includes(reason);
  connection.querySelector("a").hidden = reason !== "answeredElsewhere";
  connection.hidden = false;
};

const announce = (text) => {
  announcer.textContent = "";
  // A region that is emptied first is read out even if the same words come twice.
  requestAnimationFrame(() => { announcer.textContent = text; });
};

// -- A pair comes up -------------------------------------------------------------------------------------------------

const sayToTabs = watchTabs(getPair, tell);

let timedToken = null;
let shownAt = -DOUBLE_MS;

const startPair = () => {
  const isNew = getPair().token !== timedToken; // after a flag the same pair comes back
  if (isNew) restartTime();
  timedToken = getPair().token;
  forgetDiff();
  startPanes();
  showKeys();
  sayToTabs("shown");
  restoreBegun(isNew);
  fetchAhead(getPair());
};

/** What was said before is the labeler's own; nothing else is ever preselected. */
const restoreBegun = (isNew) => {
  const form = getPair().token && getAnswerForm();
  const draft = form && restoreDraft(getPair(), form);
  if (!draft || !isNew) return;
  addSeconds(draft.seconds);
  document.getElementById("draft-note")?.removeAttribute("hidden");
};

const lookAtPair = () => {
  shownAt = performance.now();
  window.scrollTo(0, 0);
  const question = document.querySelector("#answer-form [name=confirmed]");
  (question ?? document.getElementById("prompt-title"))?.focus({ preventScroll: true });
};

const showNextPair = () => {
  lookAtPair();
  announce(getDesk().dataset.announce);
  startPair();
};

for (const sign of ["change", "input"]) {
  document.addEventListener(sign, (event) => {
    const form = getAnswerForm();
    if (form && event.target.form === form && getPair().token) saveDraft(getPair(), form);
  });
}

// -- Sending ---------------------------------------------------------------------------------------------------------

const isAnswer = (element) => element?.id === "answer-form";

const setWaiting = (waiting) => {
  getDesk().classList.toggle("is-waiting", waiting);
  for (const rail of getAnswerForm()?.querySelectorAll("fieldset") ?? []) rail.inert = waiting;
};

document.addEventListener("htmx:configRequest", (event) => {
  const form = event.detail.elt;
  const csrf = readCsrfToken();
  if (csrf && getDesk().contains(form)) {
    event.detail.headers["X-CSRFToken"] = csrf;
    event.detail.parameters.set("csrfmiddlewaretoken", csrf); // Django looks here first
  }
  if (!isAnswer(form)) return;
  const { user, token } = getDesk().dataset;
  const kept = listKept(user).find((answer) => answer.token === token);
  // A retry says exactly what the first attempt said.
  const seconds = kept?.seconds ?? measureSeconds().toFixed(2);
  event.detail.parameters.set("seconds", seconds);
  keep(user, { token, seconds, fields: readFields(form), url: form.action });
  holdDraft();
  setWaiting(true);
});

/** An answer has arrived; refused (422) it is still the labeler's to mend. */
const noteSent = (user, token, status) => {
  forget(user, token);
  if (status < 400) sayToTabs("answered", token);
  if (status !== 422) dropDraft({ user, token });
};

const retryLater = () => {
  clearTimeout(retryTimer);
  retryTimer = setTimeout(() => getAnswerForm()?.requestSubmit(), RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
  failures += 1;
};

const noteFailure = (event) => {
  if (!getDesk()?.contains(event.detail.elt)) return;
  if (!isAnswer(event.detail.elt)) return tell("unreached");
  tell("offline");
  retryLater();
};
document.addEventListener("htmx:sendError", noteFailure);
document.addEventListener("htmx:timeout", noteFailure);

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target?.id !== "desk") return;
  const { xhr } = event.detail;
  if (xhr.getResponseHeader("X-Compare-Desk")) {
    // Words of a refusal (409, 422) come with the desk and are shown like it.
    event.detail.shouldSwap = true;
    event.detail.isError = false;
    clearTimeout(retryTimer);
    failures = 0;
    connection.hidden = true;
    const { user, token } = getDesk().dataset;
    if (isAnswer(event.detail.requestConfig.elt)) noteSent(user, token, xhr.status);
    return;
  }
  event.detail.shouldSwap = false;
  event.detail.isError = false;
  if (xhr.status < 400 || xhr.status === 401 || xhr.status === 403) return tell("signedOut");
  noteFailure({ detail: { elt: event.detail.requestConfig.elt } });
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "desk") showNextPair();
});

// -- The next pair at once, while the answer is on its way -----------------------------------------------------------

/** Shows the pair that was fetched ahead and sends the answer behind its back; false where there is none. */
const answerAhead = (form) => {
  const { user, token } = getPair();
  // What was tried before is shown until it is through, and so is an answer that the server may ask about.
  const stays = getDesk().classList.contains("is-waiting") || form.querySelector("[name=safety]:is([value=left], [value=right]):checked");
  const next = navigator.onLine && !stays && takeAhead(token);
  if (!next) return false;
  const answer = { token, seconds: measureSeconds().toFixed(2), fields: readFields(form), url: form.action };
  keep(user, answer);
  holdDraft();
  pending = { answer: { ...answer, ahead: next.ticket }, next, form: null, axis: undefined };
  Object.assign(getPair(), { token: "", sending: "", draft: "" });
  document.getElementById("desk-notes").replaceChildren();
  showAhead(document.getElementById("desk-body"), next);
  lookAtPair();
  startPair();
  deliver();
  return true;
};

const deliver = async () => {
  const { answer } = pending;
  const reply = await post(answer);
  const isDesk = reply?.headers.get("X-Compare-Desk");
  const desk = isDesk && (await reply.text().catch(() => null));
  if (pending?.answer !== answer) return; // tried twice at once
  if (desk) return confirmPair(reply.status, desk);
  if (reply && !isDesk && (reply.status < 400 || reply.status === 401 || reply.status === 403)) return tell("signedOut");
  tell("offline");
  clearTimeout(retryTimer);
  retryTimer = setTimeout(deliver, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
  failures += 1;
};

const confirmPair = (status, reply) => {
  const { answer, next, form, axis } = pending;
  const { user } = getPair();
  clearTimeout(retryTimer);
  pending = null;
  failures = 0;
  connection.hidden = true;
  noteSent(user, answer.token, status);
  delete getPair().sending;
  const stands = settle(getDesk(), next, reply);
  if (axis !== undefined) listAxes()[axis]?.click();
  if (!stands) return showNextPair();
  timedToken = getPair().token;
  announce(getPair().announce);
  setWaiting(false);
  showKeys();
  sayToTabs("shown");
  fetchAhead(getPair());
  const said = getAnswerForm();
  if (saysSomething(said)) saveDraft(getPair(), said);
  else restoreBegun(true);
  if (form?.isConnected) form.requestSubmit();
};

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!getDesk().contains(form)) return;
  if (pending) {
    pending.form = form;
    setWaiting(true);
  } else if (!isAnswer(form) || !answerAhead(form)) return; // htmx sends it and shows what comes
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

// The second click of a double click would meet the next pair.
document.addEventListener("click", (event) => {
  const meetsNext = event.detail > 1 && performance.now() - shownAt < DOUBLE_MS;
  if (meetsNext && getDesk().contains(event.target)) event.preventDefault();
}, true);

// Until the server has confirmed the pair, the links still lead to the one before.
document.addEventListener("click", (event) => {
  const link = event.target.closest("#axes a");
  if (!pending || !link) return;
  pending.axis = listAxes().indexOf(link);
  event.preventDefault();
}, true);

const tryNow = () => {
  clearTimeout(retryTimer);
  if (pending) deliver();
  else if (getDesk().classList.contains("is-waiting")) getAnswerForm()?.requestSubmit();
  else connection.hidden = true;
};
connection.querySelector("button").addEventListener("click", tryNow);
window.addEventListener("online", tryNow);

/** Answers that an earlier page could not deliver; the one to the pair on screen is sent as if chosen now. */
const deliverKept = async () => {
  const { user, token } = getDesk().dataset;
  for (const answer of listKept(user)) {
    if (answer.token === token) {
      const form = getAnswerForm();
      if (!form) continue;
      fillFields(form, answer.fields);
      form.requestSubmit();
    } else if (await sendKept(user, answer)) {
      tell("delivered");
    }
  }
};

// -- Keys ------------------------------------------------------------------------------------------------------------

const keySwitch = document.querySelector("#key-switch input");
document.getElementById("key-switch").hidden = false;
keySwitch.checked = localStorage.getItem("plumbline.single_keys") !== "off";
keySwitch.addEventListener("change", () => {
  localStorage.setItem("plumbline.single_keys", keySwitch.checked ? "on" : "off");
});

const choose = (radio) => {
  if (!radio || radio.closest("fieldset").inert) return;
  radio.checked = true;
  radio.focus({ preventScroll: getComputedStyle(getAnswerForm()).position === "sticky" });
  radio.dispatchEvent(new Event("change", { bubbles: true }));
};
const listRadios = (name) => [...(getAnswerForm()?.querySelectorAll(`input[name=${name}]`) ?? [])];
const chooseValue = (value, name = "choice") => choose(listRadios(name).find((radio) => radio.value === value));

const toggleSheet = (id) => {
  const sheet = document.getElementById(id);
  sheet?.togglePopover();
  if (sheet?.matches(":popover-open")) sheet.querySelector("input:not([type=hidden]), [autofocus]")?.focus();
};

const compareWords = () => {
  const happened = toggleDiff();
  const tools = document.getElementById("pane-tools");
  if (!happened) return;
  const note = tools.querySelector("[data-diff-note]");
  note.textContent = tools.dataset[happened] ?? "";
  tools.querySelector("[data-do=diff]").setAttribute("aria-pressed", happened === "on");
};

const ACTIONS = {
  unsure: () => chooseValue("unsure"),
  equal: () => chooseValue("equal"),
  both_bad: () => chooseValue("both_bad"),
  safe_both: () => chooseValue("both", "safety"),
  safe_left: () => chooseValue("left", "safety"),
  safe_right: () => chooseValue("right", "safety"),
  safe_neither: () => chooseValue("neither", "safety"),
  undo: () => document.getElementById("undo-form")?.requestSubmit(),
  skip: () => toggleSheet("skip-sheet"),
  help: () => toggleSheet("help-sheet"),
  diff: compareWords,
  linked: toggleLinked,
  earlier: toggleEarlier,
  marks: toggleMarks,
  flag: () => toggleSheet("flag-sheet"),
  history: () => document.getElementById("history-link").click(),
  reasons: () => document.querySelector("#rationale, [name=reason_tags]")?.focus(),
};

/** To the next axis or the one before, round and round; false where there is one alone or the arrows scroll a text. */
const switchAxis = ({ key, target, shiftKey }) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[key];
  const links = listAxes();
  if (!step || !links.length || shiftKey || getSheet() || target.closest(".pane-text, .dialogue")) return false;
  const at = links.findIndex((link) => link.hasAttribute("aria-current"));
  links[(at + step + links.length) % links.length].click();
  return true;
};

const pressSingleKey = (event) => {
  const number = getNumber(event);
  const action = getAction(event);
  if (number) choose(listRadios("choice")[number - 1]);
  else if (action) ACTIONS[action]();
  else return;
  event.preventDefault();
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) ACTIONS[button.dataset.do]();
});

document.addEventListener("keydown", (event) => {
  active = true;
  if (event.repeat || event.isComposing || event.altKey) return;
  const { target } = event;
  const types = target.matches("textarea, select, input:not([type=radio], [type=checkbox], [type=hidden])");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    (target.closest("#skip-form, #flag-form") ?? getAnswerForm())?.requestSubmit();
  } else if (event.ctrlKey || event.metaKey || types) {
    return;
  } else if (switchAxis(event)) {
    event.preventDefault();
  } else if (event.key === "Enter") {
    if (getSheet() || target.closest("a, button, summary, input, [role=button]")) return; // those know Enter themselves
    event.preventDefault();
    const isSecond = performance.now() - shownAt < DOUBLE_MS && !getAnswerForm()?.checkValidity();
    if (!isSecond) getAnswerForm()?.requestSubmit();
  } else if (keySwitch.checked && (!getSheet() || (getAction(event) === "help" && getSheet().id === "help-sheet"))) {
    pressSingleKey(event);
  }
});

// -- The lease lives while somebody reads ----------------------------------------------------------------------------

for (const sign of ["pointermove", "scroll", "touchstart"]) {
  document.addEventListener(sign, () => { active = true; }, { passive: true, capture: true });
}

setInterval(async () => {
  tellServer();
  const { token, heartbeat } = getDesk().dataset;
  if (!active || document.hidden || !token || !heartbeat) return;
  active = false;
  const body = new FormData(getAnswerForm());
  body.set("csrfmiddlewaretoken", readCsrfToken() ?? body.get("csrfmiddlewaretoken"));
  const answer = await fetch(heartbeat, { method: "POST", body }).catch(() => null);
  if (answer?.ok && !answer.redirected && (await answer.json()).expires_at === null && getDesk().dataset.token === token) {
    tell("leaseOver");
  }
}, HEARTBEAT_MS);

// Brought back by the browser as it was left, the page may show a pair that was answered meanwhile.
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

startRemapping(document.getElementById("key-list"));
startPair();
deliverKept();
