// How long somebody works on a pair: time in another tab does not count, and of a pause only its first minute, as long
// as one reads without touching anything.

const IDLE_MS = 60_000;

let worked = 0;
let lastSign = performance.now();

const settle = () => {
  const now = performance.now();
  worked += Math.min(now - lastSign, IDLE_MS);
  lastSign = now;
};

export const restartTime = () => {
  worked = 0;
  lastSign = performance.now();
};

/** Work on the pair before this page was loaded, which is neither counted twice nor lost. */
export const addSeconds = (seconds) => { worked += seconds * 1000; };

/** Seconds of work since restartTime(). */
export const measureSeconds = () => {
  if (!document.hidden) {
    const pause = Math.min(performance.now() - lastSign, IDLE_MS);
    return (worked + pause) / 1000;
  }
  return worked / 1000;
};

for (const sign of ["pointermove", "pointerdown", "keydown", "scroll", "touchstart"]) {
  document.addEventListener(sign, () => { if (!document.hidden) settle(); }, { passive: true, capture: true });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) settle();
  else lastSign = performance.now();
});

setInterval(() => {
  const place = document.querySelector("[data-active-time]");
  if (!place || document.hidden) return;
  const seconds = Math.floor(measureSeconds());
  place.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}, 1000);
