// A log that is renewed from time to time: stays at its end for who reads the end, and in place for who scrolled up.
"use strict";

const NEAR = 24; // pixels from the end that still count as being there
const isAtEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
const scrollToEnd = (box) => { box.scrollTop = box.scrollHeight; };

let followed = new Set();

document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const box = event.detail.target;
  if (box.matches("[data-follow]") && isAtEnd(box)) followed.add(box.id);
});

document.addEventListener("htmx:oobAfterSwap", (event) => {
  const box = event.detail.target;
  if (box.matches("[data-follow]") && followed.delete(box.id)) scrollToEnd(box);
});

document.querySelectorAll("[data-follow]").forEach(scrollToEnd);
