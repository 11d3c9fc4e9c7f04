// Which key does what. One may give an action another key: it is stored in this browser. Digits, Enter and Escape stay.

const DEFAULTS = {
  unsure: "u", equal: "e", both_bad: "x", undo: "z", skip: "s", help: "?", diff: "d", linked: "l", earlier: "o",
  marks: "m", flag: "f", reasons: "r", history: "h",
  safe_both: "b", safe_left: "c", safe_right: "v", safe_neither: "n",
};
const STORE = "plumbline.keys";

const readOwn = () => JSON.parse(localStorage.getItem(STORE) ?? "{}");
const getKeys = () => ({ ...DEFAULTS, ...readOwn() });

/** The letter on the key: what it types, or, under a Korean or other input method, where it lies. */
export const getLetter = (event) =>
  /^[a-z?]$/i.test(event.key) ? event.key.toLowerCase() : event.code.replace(/^Key/, "").toLowerCase();

/** 1 to 9 from the number row, whatever it types without Shift, or from the number pad. */
export const getNumber = (event) =>
  event.shiftKey ? null : (/^(?:Digit|Numpad)([1-9])$/.exec(event.code) ?? /^([1-9])$/.exec(event.key))?.[1];

export const getAction = (event) => Object.entries(getKeys()).find(([, key]) => key === getLetter(event))?.[0];

const getButtons = () => document.querySelectorAll("#key-list button[data-action]");

export const showKeys = () => {
  const keys = getKeys();
  for (const place of document.querySelectorAll("[data-key-of]")) place.textContent = keys[place.dataset.keyOf].toUpperCase();
  for (const button of getButtons()) button.textContent = keys[button.dataset.action].toUpperCase();
};

/** Lets the help sheet's buttons take a new key each. */
export const startRemapping = (list) => {
  const note = list.querySelector("[data-key-note]");
  let asking = null;
  const stop = (word) => {
    asking?.setAttribute("aria-pressed", "false");
    asking = null;
    note.textContent = list.dataset[word] ?? "";
    showKeys();
  };
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.matches("[data-action]")) {
      stop("none");
      asking = button;
      asking.setAttribute("aria-pressed", "true");
      note.textContent = list.dataset.press;
    } else if (button) {
      localStorage.removeItem(STORE);
      stop("reset");
    }
  });
  list.addEventListener("keydown", (event) => {
    if (!asking || event.ctrlKey || event.metaKey || event.altKey || event.key === "Shift") return;
    event.stopPropagation();
    event.preventDefault();
    if (event.key === "Escape" || event.key === "Tab") return stop("none");
    const key = getLetter(event);
    if (!/^[a-z?]$/.test(key)) return stop("letters");
    const owner = getAction(event);
    if (owner && owner !== asking.dataset.action) return stop("taken");
    localStorage.setItem(STORE, JSON.stringify({ ...readOwn(), [asking.dataset.action]: key }));
    stop("saved");
  });
  for (const button of list.querySelectorAll("button")) button.disabled = false;
  showKeys();
};
