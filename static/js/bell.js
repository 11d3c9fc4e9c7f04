// The bell in the head of every page: its number is asked for now and then, while the page is looked at and not otherwise.
"use strict";

const BELL_MS = 30_000;
let bellWait;

const askBell = async () => {
  clearTimeout(bellWait);
  const bell = document.querySelector("[data-bell]");
  if (!bell || document.hidden) return; // asked again when the page is shown
  try {
    const answer = await fetch(bell.dataset.bell);
    if (!answer.ok || answer.redirected) return; // signed out: no more
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-bell]");
    const told = fresh?.getAttribute("aria-label");
    if (told && told !== bell.getAttribute("aria-label")) {
      bell.setAttribute("aria-label", told); // in place, so that the focus stays
      bell.replaceChildren(...fresh.childNodes);
    }
  } catch {
    // The server is away for a moment.
  }
  bellWait = setTimeout(askBell, BELL_MS);
};

document.addEventListener("visibilitychange", () => { if (!document.hidden) askBell(); });
bellWait = setTimeout(askBell, BELL_MS);
