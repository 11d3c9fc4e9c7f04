// The review page's keys: as on the compare page, but for what goes with handing pairs out. It works without this file.
import { toggleDiff } from "./compare_diff.js";
import { getAction, getNumber, showKeys, startRemapping } from "./compare_keys.js";
import { startPanes, toggleEarlier, toggleLinked, toggleMarks } from "./compare_panes.js";
import { measureSeconds } from "./compare_time.js";

const form = document.getElementById("answer-form");
const rail = [...form.querySelectorAll(".rail input[name=choice]")];

const choose = (radio) => {
  if (!radio) return;
  radio.checked = true;
  radio.focus({ preventScroll: getComputedStyle(form).position === "sticky" });
};
const chooseValue = (value) => choose(rail.find((radio) => radio.value === value));

const compareWords = () => {
  const happened = toggleDiff();
  const tools = document.getElementById("pane-tools");
  tools.querySelector("[data-diff-note]").textContent = tools.dataset[happened] ?? "";
  tools.querySelector("[data-do=diff]").setAttribute("aria-pressed", happened === "on");
};

const ACTIONS = {
  unsure: () => chooseValue("unsure"),
  equal: () => chooseValue("equal"),
  both_bad: () => chooseValue("both_bad"),
  help: () => document.getElementById("help-sheet").togglePopover(),
  diff: compareWords,
  linked: toggleLinked,
  earlier: toggleEarlier,
  marks: toggleMarks,
  reasons: () => document.querySelector("#rationale, [name=reason_tags], #decision-note")?.focus(),
};

const keySwitch = document.querySelector("#key-switch input");
document.getElementById("key-switch").hidden = false;
keySwitch.checked = localStorage.getItem("plumbline.single_keys") !== "off";
keySwitch.addEventListener("change", () => {
  localStorage.setItem("plumbline.single_keys", keySwitch.checked ? "on" : "off");
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) ACTIONS[button.dataset.do]();
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.isComposing || event.altKey) return;
  const { target } = event;
  const sheet = document.querySelector("[popover]:popover-open");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  } else if (event.ctrlKey || event.metaKey || target.matches("textarea, select, input:not([type=radio], [type=checkbox])")) {
    return;
  } else if (event.key === "Enter") {
    if (sheet || target.closest("a, button, summary, input, [role=button]")) return; // those know Enter themselves
    event.preventDefault();
    form.requestSubmit();
  } else if (keySwitch.checked && (!sheet || getAction(event) === "help")) {
    const number = getNumber(event);
    const action = ACTIONS[getAction(event)];
    if (number) choose(rail[number - 1]);
    else if (action) action();
    else return;
    event.preventDefault();
  }
});

form.addEventListener("submit", () => {
  if (form.elements.seconds) form.elements.seconds.value = measureSeconds().toFixed(2);
});

startPanes();
startRemapping(document.getElementById("key-list"));
showKeys();
