// Boards of live charts. A page needs uPlot, curve_source.js, curve_chart.js and this file (templates/training/
// _chart_files.html names them all); its markup says what to draw:
//   [data-charts]   the board. data-url: where its curves are; data-interval: milliseconds between two questions, which
//                   end when the answer says "over"; data-x: what the steps of the answers are, `step` or `seconds`;
//                   data-summary: words of a curve for those who do not see it, as "{last}, {low} to {high}"
//   [data-source]   in the place of data-url where several runs are drawn together: its number, and a data-url of its own
//   [data-chart]    one chart: data-line: a horizontal line; data-from, data-to: fixed ends of the scale; data-digits
//   [data-series]   one curve: name of its values; data-of: the number of its source; data-smooth: running mean with the
//                   single values pale behind; its [data-swatch] lends colour and dash
//   [data-smoothing], [data-log], [data-across], [data-reset], [data-place]   controls; each may be missing
// The answer is JSON: {over, attempt, steps: [1, 2], values: {loss: [0.7, 0.6]}}; width, counts, times, lows and highs
// where a point stands for several steps. Charts move together: pointer, zoom by dragging or keys, double click.
"use strict";

const KEPT = "charts"; // in localStorage: how the reader likes curves
const ZOOM = 2; // a key doubles what is seen, or halves it
const STEP_ASIDE = 0.2; // of what is seen
const WAIT_MS = 150; // after the last zoom, before finer values are asked for

class ChartBoard {
  constructor(root) {
    this.root = root;
    this.interval = Number(root.dataset.interval);
    this.words = root.dataset.summary || "{last}";
    const places = root.querySelectorAll("[data-source]");
    this.sources = new Map([...places].map((place) => [place.dataset.source, new CurveSource(place.dataset.url)]));
    if (!this.sources.size) this.sources.set(undefined, new CurveSource(root.dataset.url));
    this.charts = [...root.querySelectorAll("[data-chart]")].map((element) => new CurveChart(element, this));
    this.trouble = root.querySelector("[data-trouble]");
    this.view = null; // what is zoomed to; null is everything
    this.readControls();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.charts.forEach((chart) => chart.repaint()));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.over) this.ask();
    });
    this.ask();
  }

  get over() {
    return [...this.sources.values()].every((source) => source.over);
  }

  readControls() {
    const find = (name) => this.root.querySelector(`[data-${name}]`);
    const [smoothing, log, across] = ["smoothing", "log", "across"].map(find);
    const kept = JSON.parse(localStorage.getItem(KEPT) || "{}");
    if (smoothing) smoothing.value = kept.smoothing ?? smoothing.value;
    if (log) log.checked = kept.log ?? log.checked;
    const read = () => {
      this.share = smoothing ? Number(smoothing.value) / 100 : 0;
      this.isLog = Boolean(log?.checked);
      if (smoothing) find("smoothing-words").textContent = `${smoothing.value} %`;
      if (across && across.value !== this.across) this.view = null;
      this.across = across?.value ?? this.root.dataset.x ?? "step";
    };
    read();
    for (const control of [smoothing, log, across]) {
      control?.addEventListener("input", () => {
        read();
        localStorage.setItem(KEPT, JSON.stringify({ smoothing: smoothing?.value, log: log?.checked }));
        this.update();
      });
    }
    this.resetButton = find("reset");
    this.resetButton?.addEventListener("click", () => this.reset());
    this.place = find("place");
  }

  async ask() {
    clearTimeout(this.wait);
    const begun = this.root.dataset.state !== undefined;
    if (document.hidden && begun) return; // nobody looks; asked again when the page is shown
    if (this.root.matches("details:not([open])")) {
      this.root.ontoggle = () => this.ask();
      return;
    }
    let wait = this.interval;
    try {
      const open = [...this.sources.values()].filter((source) => !source.over);
      const news = await Promise.all(open.map((source) => source.ask()));
      if (news.some(Boolean)) this.update();
      this.root.dataset.state = this.over ? "over" : "live";
      if (this.trouble) this.trouble.hidden = true;
    } catch {
      if (this.trouble) this.trouble.hidden = false;
      wait *= 5;
    }
    if (!this.over) this.wait = setTimeout(() => this.ask(), wait);
  }

  update() {
    for (const chart of this.charts) chart.read();
    this.ends = null;
    for (const chart of this.charts) chart.draw();
  }

  // The points of one curve: where they stand, the line, and the lowest and highest single values.
  listPoints({ key, source, smooth }) {
    const all = this.sources.get(source).list();
    const began = all.find((point) => point.time)?.time;
    const points = all.filter((point) => Number.isFinite(point.mean[key]) && Number.isFinite(this.placeOf(point, began)));
    const means = points.map((point) => point.mean[key]);
    const line = smooth ? smoothCurve(means, points.map((point) => point.rows), this.share) : means;
    return points.map((point, at) => ({
      x: this.placeOf(point, began),
      step: point.step,
      line: line[at],
      low: point.low[key],
      high: point.high[key],
    }));
  }

  placeOf(point, began) {
    if (this.across === "tokens") return point.high.num_tokens;
    if (this.across === "time") return point.time ? point.time - began : NaN;
    return point.step;
  }

  // From the first to the last place of all curves; one place stands in the middle.
  whole() {
    if (this.ends) return this.ends;
    const places = this.charts.flatMap((chart) => chart.columns[0].length ? [chart.columns[0][0], chart.columns[0].at(-1)] : []);
    const [min, max] = [Math.min(...places), Math.max(...places)];
    this.ends = min < max ? [min, max] : [Math.max(0, min - 1), min + 1];
    return this.ends;
  }

  range() {
    return this.view ?? this.whole();
  }

  reset() {
    if (this.view) this.zoom(...this.whole());
  }

  // Charts show the part at once with what they have; finer values follow.
  zoom(min, max) {
    const [first, last] = this.whole();
    const least = this.across === "step" ? 2 : (last - first) / 1e5;
    if (max - min < least) [min, max] = [(min + max - least) / 2, (min + max + least) / 2];
    this.view = min <= first && max >= last ? null : [Math.max(first, min), Math.min(last, max)];
    if (this.resetButton) this.resetButton.disabled = !this.view;
    this.root.dataset.view = this.view?.join(" ") ?? "";
    const [from, to] = this.range();
    for (const chart of this.charts) chart.show({ min: from, max: to });
    clearTimeout(this.refining);
    this.refining = setTimeout(() => this.refine(), WAIT_MS);
  }

  async refine() {
    const [from, to] = this.range();
    const refined = [...this.sources.values()].map((source) => {
      if (!this.view) return source.refine(0, -1);
      const points = source.list();
      const began = points.find((point) => point.time)?.time;
      const seen = points.filter((point) => this.placeOf(point, began) >= from && this.placeOf(point, began) <= to);
      return this.across === "step" ? source.refine(Math.floor(from), Math.ceil(to))
        : seen.length ? source.refine(seen[0].step, seen.at(-1).step) : null;
    });
    try {
      await Promise.all(refined);
      this.update();
    } catch {
      if (this.trouble) this.trouble.hidden = false;
    }
  }

  press(event, chart) {
    if (event.altKey || event.ctrlKey || event.metaKey || !chart.uplot) return;
    const [min, max] = this.range();
    const span = max - min;
    const middle = this.at >= min && this.at <= max ? this.at : (min + max) / 2;
    const aside = event.key === "ArrowLeft" ? -1 : 1;
    if (event.key === "+" || event.key === "=") this.zoom(middle - span / 2 / ZOOM, middle + span / 2 / ZOOM);
    else if (event.key === "-") this.zoom(middle - (span * ZOOM) / 2, middle + (span * ZOOM) / 2);
    else if (event.key === "0" || event.key === "Escape") this.reset();
    else if (event.key.startsWith("Arrow") && event.shiftKey) this.pan(aside * STEP_ASIDE * span);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.walk(chart, aside);
    else return;
    event.preventDefault();
  }

  pan(distance) {
    if (!this.view) return;
    const [first, last] = this.whole();
    const move = Math.min(Math.max(distance, first - this.view[0]), last - this.view[1]);
    this.zoom(this.view[0] + move, this.view[1] + move);
  }

  // To the next value on either side, on all charts.
  walk(chart, aside) {
    const [min, max] = this.range();
    const seen = chart.columns[0].filter((x) => x >= min && x <= max);
    if (!seen.length) return;
    const now = seen.findLastIndex((x) => x <= this.at);
    const next = this.at === undefined || now < 0 ? seen.length - 1 : Math.min(Math.max(now + aside, 0), seen.length - 1);
    for (const each of this.charts) each.pointAt(seen[next]);
    this.sayPlace(seen[next]);
  }

  sayPlace(x) {
    this.at = x;
    if (this.place) this.place.textContent = this.nameTick(x);
  }

  nameTick(x) {
    if (x == null) return "";
    if (this.across === "time" || this.across === "seconds") return nameSeconds(x);
    if (this.across !== "tokens") return Number.isInteger(x) ? x.toLocaleString(document.documentElement.lang) : "";
    return x.toLocaleString(document.documentElement.lang, { notation: "compact" });
  }
}

function nameSeconds(seconds) {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.round(seconds) % 60];
  return parts.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}

for (const root of document.querySelectorAll("[data-charts]")) new ChartBoard(root);
