// Live charts of a training run. The markup says what to draw (see templates/training/_charts.html):
//   [data-charts]   data-url: JSON of steps and values; data-interval: milliseconds between two questions
//   [data-chart]    one chart: data-line: a horizontal line; data-from, data-to: fixed ends of the scale; data-digits
//   [data-series]   one curve: key of the metric; data-smooth: running mean; its .swatch lends colour and dash
// Values are fetched from the last known step on, and no more once the run is over.
"use strict";

const PALE = 0.3; // opacity of the single values behind a running mean

class Chart {
  constructor(element) {
    this.element = element;
    this.plot = element.querySelector("[data-plot]");
    this.note = element.querySelector("[data-empty]");
    this.digits = Number(element.dataset.digits || 3);
    this.curves = [...element.querySelectorAll("[data-series]")].map((item) => ({
      key: item.dataset.series,
      smooth: "smooth" in item.dataset,
      swatch: item.querySelector("[data-swatch]"),
      value: item.querySelector("[data-value]"),
      label: item.querySelector("[data-label]").textContent,
    }));
    this.columns = [[]];
    new ResizeObserver(() => this.fit()).observe(this.plot);
  }

  // rows: [[step, {key: number}], ...] in order of steps
  setRows(rows) {
    const used = rows.filter(([, values]) => this.curves.some((curve) => Number.isFinite(values[curve.key])));
    const columns = [used.map(([step]) => step)];
    for (const curve of this.curves) {
      const raw = used.map(([, values]) => values[curve.key] ?? null);
      if (curve.smooth) columns.push(runningMean(raw));
      columns.push(raw);
    }
    this.columns = columns;
    if (this.note) this.note.hidden = used.length > 0;
    if (!this.uplot) this.fit();
    else if (this.isZoomed()) {
      this.uplot.setData(columns, false);
      this.uplot.redraw();
    } else this.uplot.setData(columns);
    this.showValues(null);
  }

  // Whether somebody looks at a part of the curve; new values must not take that view away.
  isZoomed() {
    const { min, max } = this.uplot.scales.x;
    const steps = this.uplot.data[0];
    return min > steps[0] || max < steps.at(-1);
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width || !this.columns[0].length) return; // folded away, or nothing to draw yet
    if (this.uplot) this.uplot.setSize({ width, height });
    else this.uplot = new uPlot(this.options(width, height), this.columns, this.plot);
  }

  repaint() {
    this.uplot?.destroy();
    this.uplot = null;
    this.fit();
  }

  options(width, height) {
    const text = getComputedStyle(this.element).color;
    const line = getComputedStyle(this.plot).borderTopColor;
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
    const { from, to, line: level } = this.element.dataset;
    const y = from === undefined ? {} : { range: [Number(from), Number(to)] };
    return {
      width,
      height,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "run" }, drag: { x: true, y: false }, points: { size: 7 } },
      scales: { x: { time: false, range: rangeSteps }, y },
      axes: [{ ...axis, size: 26, incrs: STEP_INCREMENTS }, { ...axis, size: 58, values: shortNumbers }],
      series: [{}, ...this.curves.flatMap((curve) => this.strokes(curve))],
      hooks: {
        setCursor: [(uplot) => this.showValues(uplot.cursor.idx)],
        draw: level === undefined ? [] : [(uplot) => drawLevel(uplot, Number(level), text)],
      },
    };
  }

  strokes(curve) {
    const style = getComputedStyle(curve.swatch);
    const dash = style.borderTopStyle === "dashed" ? [6, 4] : undefined;
    const strong = { stroke: style.borderTopColor, width: 2, dash, spanGaps: true };
    const points = { show: isSparse, size: 7, fill: style.borderTopColor };
    if (!curve.smooth) return [{ ...strong, points: dash ? { ...points, show: true, size: 5 } : points }];
    const pale = { ...strong, width: 1, alpha: PALE, points: { show: false } };
    return [{ ...strong, points }, pale];
  }

  // index: of the step under the pointer; null for the last values
  showValues(index) {
    const words = [];
    let at = 1;
    for (const curve of this.curves) {
      const column = this.columns[at] || [];
      at += curve.smooth ? 2 : 1;
      const number = index == null ? column.findLast((value) => value !== null) : nearestValue(column, index);
      const text = number == null ? "–" : formatNumber(number, this.digits);
      curve.value.textContent = text;
      words.push(`${curve.label} ${text}`);
    }
    if (index == null) this.plot.setAttribute("aria-label", `${this.element.dataset.title}: ${words.join(", ")}`);
  }
}

const STEP_INCREMENTS = [0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));

// One step stands in the middle; else uPlot would give it an axis up to 100.
const rangeSteps = (_uplot, min, max) => (min !== null && min === max ? [Math.max(0, min - 1), max + 1] : [min, max]);

// Too few values for a line that can be seen.
const isSparse = (uplot, index) => uplot.data[index].filter((value) => value != null).length < 3;

// Averages over about a twentieth of the curve: enough to see through the noise, too little to lag far behind.
function runningMean(values) {
  const past = 1 - 1 / Math.min(20, Math.max(2, Math.round(values.length / 20)));
  let mean = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = past * mean + (1 - past) * value;
    weight = past * weight + (1 - past);
    return mean / weight;
  });
}

// Evaluations are rarer than steps: between two of them the earlier one stands.
function nearestValue(column, index) {
  for (let i = index; i >= 0; i -= 1) if (column[i] !== null) return column[i];
  return null;
}

function formatNumber(number, digits) {
  const size = Math.abs(number);
  return size !== 0 && (size < 10 ** -digits || size >= 1e6) ? number.toExponential(2) : number.toFixed(digits);
}

function shortNumbers(_uplot, ticks) {
  const small = ticks.some((tick) => tick !== 0 && Math.abs(tick) < 1e-3);
  return ticks.map((tick) => (small && tick !== 0 ? tick.toExponential() : String(Number(tick.toPrecision(6)))));
}

function drawLevel(uplot, level, colour) {
  const { ctx, bbox } = uplot;
  const y = uplot.valToPos(level, "y", true);
  ctx.save();
  ctx.globalAlpha = 0.6;
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

class RunWatcher {
  constructor(root) {
    this.root = root;
    this.charts = [...root.querySelectorAll("[data-chart]")].map((element) => new Chart(element));
    this.trouble = root.querySelector("[data-trouble]");
    this.interval = Number(root.dataset.interval);
    this.over = false;
    this.forget(null);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.charts.forEach((chart) => chart.repaint()));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.over) this.ask();
    });
    this.ask();
  }

  forget(attempt) {
    this.steps = new Map();
    this.attempt = attempt;
  }

  async ask() {
    clearTimeout(this.wait);
    if (document.hidden && this.steps.size) return; // nobody looks; asked again when the page is shown
    // The last step comes again: an evaluation may have been added to it.
    const after = Math.max(0, ...this.steps.keys()) - 1;
    let wait = this.interval;
    try {
      const answer = await fetch(`${this.root.dataset.url}?after=${after}`, { headers: { Accept: "application/json" } });
      if (answer.redirected || !answer.ok) throw new Error(answer.statusText);
      if (!this.take(await answer.json())) wait = 0;
      this.trouble.hidden = true;
    } catch {
      this.trouble.hidden = false;
      wait *= 5;
    }
    if (!this.over) this.wait = setTimeout(() => this.ask(), wait);
  }

  // Returns false where everything must be asked for again from the start.
  take({ attempt, over, steps, values }) {
    if (this.attempt !== null && this.attempt !== attempt) {
      this.forget(attempt); // a resumed attempt does some steps again
      return false;
    }
    this.attempt = attempt;
    this.over = over;
    const names = Object.keys(values);
    steps.forEach((step, at) => this.steps.set(step, Object.fromEntries(names.map((name) => [name, values[name][at]]))));
    const ordered = [...this.steps].sort(([a], [b]) => a - b);
    if (steps.length) for (const chart of this.charts) chart.setRows(ordered);
    this.root.dataset.state = over ? "over" : "live";
    return true;
  }
}

for (const root of document.querySelectorAll("[data-charts]")) new RunWatcher(root);
