// One chart of a [data-charts] page: draws curves of one or more sources on uPlot's canvas; see charts.js.
"use strict";

const PALE = 0.3; // opacity of the single values behind a running mean
const BAND = 0.12; // opacity of what lies between the lowest and the highest of several steps

class CurveChart {
  constructor(element, board) {
    this.element = element;
    this.board = board;
    this.plot = element.querySelector("[data-plot]");
    this.note = element.querySelector("[data-empty]");
    this.digits = Number(element.dataset.digits || 3);
    this.curves = [...element.querySelectorAll("[data-series]")].map((item) => ({
      key: item.dataset.series,
      source: item.dataset.of,
      smooth: "smooth" in item.dataset,
      swatch: item.querySelector("[data-swatch]"),
      value: item.querySelector("[data-value]"),
      label: item.querySelector("[data-label]").textContent,
      points: [],
    }));
    this.columns = [[]];
    this.isLog = false;
    this.plot.addEventListener("keydown", (event) => board.press(event, this));
    new ResizeObserver(() => this.fit()).observe(this.plot);
  }

  read() {
    for (const curve of this.curves) curve.points = this.board.listPoints(curve);
    this.columns = this.align();
  }

  // Once all charts have read, since they share their ends.
  draw() {
    const values = this.curves.flatMap((curve) => curve.points.map((point) => point.low));
    // A logarithm needs values above zero, and a scale with fixed ends needs none.
    const isLog = this.board.isLog && this.element.dataset.from === undefined && values.every((value) => value > 0);
    if (this.note) this.note.hidden = values.length > 0;
    if (this.uplot && isLog === this.isLog) this.uplot.setData(this.columns);
    else {
      this.isLog = isLog;
      this.repaint();
    }
    this.showValues(null);
  }

  // uPlot wants one column of places for all curves; each curve has three: its line, and lowest and highest values.
  align() {
    const places = new Set(this.curves.flatMap((curve) => curve.points.map((point) => point.x)));
    const across = [...places].sort((a, b) => a - b);
    const columns = [across];
    for (const { points, smooth } of this.curves) {
      const at = new Map(points.map((point) => [point.x, point]));
      const column = (name) => across.map((x) => at.get(x)?.[name] ?? null);
      columns.push(...(smooth ? [column("line"), column("high"), column("low")] : [column("line")]));
    }
    return columns;
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width) return; // folded away
    if (this.uplot) this.uplot.setSize({ width, height });
    else if (this.columns[0].length) this.uplot = new uPlot(this.options(width, height), this.columns, this.plot);
  }

  repaint() {
    this.uplot?.destroy();
    this.uplot = null;
    this.fit();
  }

  // Shows from `min` to `max`; the board knows the whole.
  show(range) {
    this.uplot?.setScale("x", range);
  }

  options(width, height) {
    const text = getComputedStyle(this.element).color;
    const line = getComputedStyle(this.plot).borderTopColor;
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
    const { from, to, line: level } = this.element.dataset;
    const y = from === undefined ? { distr: this.isLog ? 3 : 1 } : { range: [Number(from), Number(to)] };
    const { series, bands } = this.strokes();
    return {
      width,
      height,
      padding: [8, 24, 0, 0], // the last number below stands half beyond the end
      legend: { show: false },
      cursor: {
        sync: { key: "charts", setSeries: false },
        drag: { x: true, y: false, setScale: false },
        points: { size: 7 },
        bind: { dblclick: () => () => this.board.reset() },
      },
      scales: { x: { time: false, range: () => this.board.range() }, y },
      axes: [
        { ...axis, size: 26, space: 60, values: (_uplot, ticks) => ticks.map((tick) => this.board.nameTick(tick)) },
        { ...axis, size: 58, values: shortNumbers },
      ],
      series: [{}, ...series],
      bands,
      hooks: {
        setCursor: [(uplot) => this.follow(uplot)],
        setSelect: [(uplot) => this.select(uplot)],
        draw: level === undefined ? [] : [(uplot) => drawLevel(uplot, Number(level), text)],
      },
    };
  }

  strokes() {
    const series = [];
    const bands = [];
    for (const curve of this.curves) {
      const style = getComputedStyle(curve.swatch);
      const colour = style.borderTopColor;
      const dash = { dashed: [8, 4], dotted: [2, 3] }[style.borderTopStyle];
      // Of evaluations each one is marked, of other curves only where there are too few for a line that can be seen.
      const points = { show: curve.smooth || curve.source ? isSparse : isCountable, size: 6, fill: colour };
      series.push({ stroke: colour, width: 2, dash, spanGaps: true, points });
      if (!curve.smooth) continue;
      const pale = { stroke: colour, width: 1, alpha: PALE, spanGaps: true, points: { show: false } };
      bands.push({ series: [series.length + 1, series.length + 2], fill: fade(colour, BAND) });
      series.push(pale, pale);
    }
    return { series, bands };
  }

  select(uplot) {
    const { left, width } = uplot.select;
    if (width < 4) return;
    const range = [uplot.posToVal(left, "x"), uplot.posToVal(left + width, "x")];
    uplot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.board.zoom(...range);
  }

  // The pointer, or the keys, are at a place; or nowhere.
  follow(uplot) {
    const at = uplot.cursor.idx;
    this.showValues(at == null || uplot.cursor.left < 0 ? null : uplot.data[0][at]);
  }

  pointAt(x) {
    if (this.uplot) this.uplot.setCursor({ left: this.uplot.valToPos(x, "x"), top: this.uplot.bbox.height / devicePixelRatio / 2 });
  }

  // x: what is under the pointer; null for the last values
  showValues(x) {
    const words = [];
    for (const { points, value, label } of this.curves) {
      // Evaluations are rarer than steps: between two of them the earlier one stands.
      const point = x === null ? points.at(-1) : points.findLast((each) => each.x <= x);
      value.textContent = point ? formatNumber(point.line, this.digits) : "–";
      if (x === null && point) words.push(`${label} ${this.summarize(points)}`);
    }
    if (x === null) this.plot.setAttribute("aria-label", [this.element.dataset.title, words.join(", ")].filter(Boolean).join(": "));
    else this.board.sayPlace(x);
  }

  summarize(points) {
    const numbers = {
      last: points.at(-1).line,
      low: Math.min(...points.map((point) => point.low)),
      high: Math.max(...points.map((point) => point.high)),
    };
    return this.board.words.replace(/\{(\w+)\}/g, (_whole, name) => formatNumber(numbers[name], this.digits));
  }
}

const countValues = (uplot, index) => uplot.data[index].filter((value) => value != null).length;
const isSparse = (uplot, index) => countValues(uplot, index) < 3;
const isCountable = (uplot, index) => countValues(uplot, index) < 60;

function fade(colour, opacity) {
  const painter = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  painter.fillStyle = colour;
  painter.fillRect(0, 0, 1, 1);
  const [red, green, blue] = painter.getImageData(0, 0, 1, 1).data;
  return `rgb(${red} ${green} ${blue} / ${opacity})`;
}

function formatNumber(number, digits) {
  const size = Math.abs(number);
  return size !== 0 && (size < 10 ** -digits || size >= 1e6) ? number.toExponential(2) : number.toFixed(digits);
}

function shortNumbers(_uplot, ticks) {
  const small = ticks.some((tick) => tick && Math.abs(tick) < 1e-3);
  return ticks.map((tick) => {
    if (tick == null) return "";
    return small && tick !== 0 ? tick.toExponential() : String(Number(tick.toPrecision(6)));
  });
}

function drawLevel(uplot, level, colour) {
  const { ctx, bbox } = uplot;
  const y = uplot.valToPos(level, "y", true);
  if (y < bbox.top || y > bbox.top + bbox.height) return;
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
