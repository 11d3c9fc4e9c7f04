// The two panes: scrolling together, marks of hidden characters, earlier turns. Each choice is remembered in this browser.

const root = document.documentElement;
root.classList.add("has-script");

const isOn = (name) => localStorage.getItem(`plumbline.${name}`) === "on";
const set = (name, on) => localStorage.setItem(`plumbline.${name}`, on ? "on" : "off");

const show = () => {
  root.classList.toggle("hide-marks", isOn("hide_marks"));
  document.querySelector("[data-do=linked]")?.setAttribute("aria-pressed", isOn("linked_scroll"));
  document.querySelector("[data-do=marks]")?.setAttribute("aria-pressed", !isOn("hide_marks"));
};

export const toggleLinked = () => {
  set("linked_scroll", !isOn("linked_scroll"));
  show();
};

export const toggleMarks = () => {
  set("hide_marks", !isOn("hide_marks"));
  show();
};

export const toggleEarlier = () => {
  const earlier = document.querySelector(".earlier");
  if (earlier) earlier.open = !earlier.open;
};

let led = null; // the pane that was moved by the other one, whose own scroll event must move nothing back

const follow = (pane) => {
  if (pane === led) {
    led = null;
    return;
  }
  const other = document.querySelector(pane.id === "left-text" ? "#right-text" : "#left-text");
  const [way, otherWay] = [pane, other].map((box) => box.scrollHeight - box.clientHeight);
  const place = way > 0 ? Math.round((pane.scrollTop / way) * otherWay) : 0;
  if (Math.abs(other.scrollTop - place) < 1) return;
  led = other;
  other.scrollTop = place;
};

document.addEventListener("scroll", (event) => {
  if (isOn("linked_scroll") && event.target.matches?.(".pane-text")) follow(event.target);
}, { passive: true, capture: true });

export const startPanes = () => {
  led = null;
  show();
};
