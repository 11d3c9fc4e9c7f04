// The compare page's keys, focus, timing, and answers that survive a lost connection. The page works without this file.
import { forget, keep, listKept, readCsrfToken, sendKept } from "./kept_answers.js";

const HEARTBEAT_MS = 120_000;
const RETRY_MS = [2_000, 4_000, 8_000, 15_000, 30_000];

const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
const getDesk = () => document.getElementById("desk");
const getAnswerForm = () => document.getElementById("answer-form");
const getSheet = () => document.querySelector("[popover]:popover-open");

let shownAt = performance.now();
let hiddenFor = 0;
let hiddenSince = null;
let active = false;
let failures = 0;
let retryTimer = 0;

// -- What the labeler is told ----------------------------------------------------------------------------------------

const tell = (reason) => {
  connection.querySelector("span").textContent = connection.dataset[reason];
  connection.querySelector("button").hidden = reason === "leaseOver" || reason === "delivered";
  connection.hidden = false;
};

const announce = (text) => {
  announcer.textContent = "";
  // A region that is emptied first is read out even if the same words come twice.
  requestAnimationFrame(() => { announcer.textContent = text; });
};

// -- A pair comes up -------------------------------------------------------------------------------------------------

const draftKey = (desk) => `plumbline.draft.${desk.dataset.user}.${desk.dataset.token}`;

const startPair = () => {
  shownAt = performance.now();
  hiddenFor = 0;
  hiddenSince = document.hidden ? shownAt : null;
  const desk = getDesk();
  const form = getAnswerForm();
  if (!form) return;
  // A choice made before a reload is the labeler's own; nothing else is ever preselected.
  const draft = sessionStorage.getItem(draftKey(desk));
  const radio = draft && form.querySelector(`input[value="${CSS.escape(draft)}"]`);
  if (radio) radio.checked = true;
};

const showNextPair = () => {
  window.scrollTo(0, 0);
  document.getElementById("prompt-title")?.focus({ preventScroll: true });
  announce(getDesk().dataset.announce);
  startPair();
};

/** Seconds that the pair was on screen; time in another tab does not count. */
const measureSeconds = () => {
  const hidden = hiddenFor + (hiddenSince === null ? 0 : performance.now() - hiddenSince);
  return Math.max(0, (performance.now() - shownAt - hidden) / 1000);
};

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hiddenSince = performance.now();
  } else if (hiddenSince !== null) {
    hiddenFor += performance.now() - hiddenSince;
    hiddenSince = null;
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("#answer-form input[name=choice]")) {
    sessionStorage.setItem(draftKey(getDesk()), event.target.value);
  }
});

// -- Sending ---------------------------------------------------------------------------------------------------------

const isAnswer = (element) => element?.id === "answer-form";

const setWaiting = (waiting) => {
  getDesk().classList.toggle("is-waiting", waiting);
  const rail = getAnswerForm()?.querySelector("fieldset");
  if (rail) rail.inert = waiting;
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
  keep(user, { token, choice: event.detail.parameters.get("choice"), seconds, url: form.action });
  setWaiting(true);
});

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
    if (isAnswer(event.detail.requestConfig.elt)) {
      forget(user, token);
      sessionStorage.removeItem(draftKey(getDesk()));
    }
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

const tryNow = () => {
  clearTimeout(retryTimer);
  if (getDesk().classList.contains("is-waiting")) getAnswerForm()?.requestSubmit();
  else connection.hidden = true;
};
connection.querySelector("button").addEventListener("click", tryNow);
window.addEventListener("online", tryNow);

/** Answers that an earlier page could not deliver; the one to the pair on screen is sent as if chosen now. */
const deliverKept = async () => {
  const { user, token } = getDesk().dataset;
  for (const answer of listKept(user)) {
    if (answer.token === token) {
      const radio = getAnswerForm()?.querySelector(`input[value="${CSS.escape(answer.choice)}"]`);
      if (radio) {
        radio.checked = true;
        getAnswerForm().requestSubmit();
      }
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

const choose = (number) => {
  const radio = getAnswerForm()?.querySelectorAll("input[name=choice]")[number - 1];
  if (!radio || radio.closest("fieldset").inert) return;
  radio.checked = true;
  radio.focus({ preventScroll: getComputedStyle(getAnswerForm()).position === "sticky" });
  radio.dispatchEvent(new Event("change", { bubbles: true }));
};

const toggleSheet = (id) => {
  const sheet = document.getElementById(id);
  sheet?.togglePopover();
  if (sheet?.matches(":popover-open")) sheet.querySelector("input:not([type=hidden]), [autofocus]")?.focus();
};

/** The letter on the key: what it types, or, under a Korean or other input method, where it lies. */
const getLetter = (event) =>
  /^[a-z?]$/i.test(event.key) ? event.key.toLowerCase() : event.code.replace(/^Key/, "").toLowerCase();

/** 1 to 7 from the number row, whatever it types without Shift, or from the number pad. */
const getNumber = (event) =>
  event.shiftKey ? null : (/^(?:Digit|Numpad)([1-7])$/.exec(event.code) ?? /^([1-7])$/.exec(event.key))?.[1];

const pressSingleKey = (event) => {
  const number = getNumber(event);
  const letter = getLetter(event);
  if (number) choose(Number(number));
  else if (letter === "u") choose(4);
  else if (letter === "z") document.getElementById("undo-form")?.requestSubmit();
  else if (letter === "s") toggleSheet("skip-sheet");
  else if (letter === "?") toggleSheet("help-sheet");
  else return;
  event.preventDefault();
};

document.addEventListener("keydown", (event) => {
  active = true;
  if (event.repeat || event.isComposing || event.altKey) return;
  const { target } = event;
  const types = target.matches("textarea, select, input:not([type=radio], [type=checkbox], [type=hidden])");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    (target.closest("#skip-form") ?? getAnswerForm())?.requestSubmit();
  } else if (event.ctrlKey || event.metaKey || types) {
    return;
  } else if (event.key === "Enter") {
    if (getSheet() || target.closest("a, button, summary, input, [role=button]")) return; // those know Enter themselves
    event.preventDefault();
    getAnswerForm()?.requestSubmit();
  } else if (keySwitch.checked && (!getSheet() || (getLetter(event) === "?" && getSheet().id === "help-sheet"))) {
    pressSingleKey(event);
  }
});

// -- The lease lives while somebody reads ----------------------------------------------------------------------------

for (const sign of ["pointermove", "scroll", "touchstart"]) {
  document.addEventListener(sign, () => { active = true; }, { passive: true, capture: true });
}

setInterval(async () => {
  const { token, heartbeat } = getDesk().dataset;
  if (!active || document.hidden || !token) return;
  active = false;
  const body = new FormData(getAnswerForm());
  body.set("csrfmiddlewaretoken", readCsrfToken() ?? body.get("csrfmiddlewaretoken"));
  const answer = await fetch(heartbeat, { method: "POST", body }).catch(() => null);
  if (answer?.ok && !answer.redirected && (await answer.json()).expires_at === null && getDesk().dataset.token === token) {
    tell("leaseOver");
  }
}, HEARTBEAT_MS);

startPair();
deliverKept();
