// A log that is renewed from time to time ([data-follow]): stays at its end for who reads the end, and in place for who
// scrolled up. [data-log-end] says and sets which; [data-log-words] shows only the lines that hold the words in it.
"use strict";

const NEAR = 24; // pixels from the end that still count as being there
const isAtEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
const scrollToEnd = (box) => { box.scrollTop = box.scrollHeight; };
const findControl = (name) => document.querySelector(`[data-log-${name}]`);

const followed = new Set();
const whole = new WeakMap(); // what stands in a log of which only some lines are shown

// Text alone is ever put back, so a log stays text whatever is in it.
function showLines(box) {
  const words = findControl("words")?.value.trim().toLowerCase();
  const text = whole.get(box) ?? box.textContent;
  whole.set(box, text);
  const lines = text.split("\n");
  const found = words ? lines.filter((line) => line.toLowerCase().includes(words)) : lines;
  box.textContent = found.join("\n");
  const count = findControl("found");
  if (count) count.textContent = words ? count.dataset.words.replace("{found}", found.length).replace("{all}", lines.length) : "";
}

function renew(box) {
  whole.delete(box);
  if (findControl("words")?.value) showLines(box);
}

document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const box = event.detail.target;
  if (box.matches("[data-follow]") && (findControl("end")?.checked ?? isAtEnd(box))) followed.add(box.id);
});

document.addEventListener("htmx:oobAfterSwap", (event) => {
  const box = event.detail.target;
  if (!box.matches("[data-follow]")) return;
  renew(box);
  if (followed.delete(box.id)) scrollToEnd(box);
});

for (const box of document.querySelectorAll("[data-follow]")) {
  scrollToEnd(box);
  findControl("words")?.addEventListener("input", () => showLines(box));
  const end = findControl("end");
  end?.addEventListener("change", () => { if (end.checked) scrollToEnd(box); });
  box.addEventListener("scroll", () => { if (end) end.checked = isAtEnd(box); });
}
