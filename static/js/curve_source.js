// What the page knows of one run's curves: an overview of all its steps, and finer values of the part that is looked at.
// The server answers a question for any part with some hundred points (see training/selectors.py), each the mean, the
// lowest and the highest value of `width` steps; so a run of 100,000 steps costs no more than one of 1,000.
"use strict";

const MOST_POINTS = 600; // that a question asks for: about one a pixel of a chart
const FRESH_POINTS = 2 * MOST_POINTS; // single steps are not averaged up to here

class CurveSource {
  constructor(url) {
    this.url = url;
    this.over = false;
    this.forget(null);
  }

  forget(attempt) {
    this.attempt = attempt;
    this.width = 1;
    this.overview = new Map(); // by the first step of each point's `width` steps; in order
    this.detail = null;
  }

  // What is new since the last question. True where anything came.
  async ask() {
    const known = this.overview.size > 0;
    // The last point comes again: it may have grown, or an evaluation was added to its step.
    const query = known ? { after: [...this.overview.keys()].at(-1) - 1, width: this.width } : {};
    const answer = await this.fetch(query);
    // A resumed attempt does some steps again; and a run that has grown long is seen in wider points.
    if (known && (answer.attempt !== this.attempt || answer.width !== this.width)) return this.askAnew(answer.attempt);
    this.attempt = answer.attempt;
    this.over = answer.over;
    this.width = answer.width;
    for (const point of listPoints(answer)) this.overview.set(point.start, point);
    if (known && this.overview.size > FRESH_POINTS) return this.askAnew(answer.attempt);
    return answer.steps.length > 0;
  }

  askAnew(attempt) {
    this.forget(attempt);
    return this.ask();
  }

  // Finer values of the steps from `first` to `last`, where the overview has only means of them; of none where last < first.
  async refine(first, last) {
    this.wanted = `${first}-${last}`;
    this.detail = null;
    if (this.width === 1 || last < first) return;
    const from = Math.max(0, Math.floor(first / this.width) * this.width);
    const to = (Math.floor(last / this.width) + 1) * this.width - 1;
    const answer = await this.fetch({ first: from, last: to });
    if (this.wanted !== `${first}-${last}` || answer.width >= this.width) return; // looked elsewhere meanwhile
    this.detail = { from, to, points: [...listPoints(answer)] };
  }

  // All points in the order of steps, the finer ones in the place of those that they make up.
  list() {
    const points = [...this.overview.values()];
    if (!this.detail) return points;
    const { from, to, points: finer } = this.detail;
    return [...points.filter((each) => each.start < from), ...finer, ...points.filter((each) => each.start > to)];
  }

  async fetch(query) {
    const answer = await fetch(`${this.url}?${new URLSearchParams({ points: MOST_POINTS, ...query })}`, {
      headers: { Accept: "application/json" },
    });
    if (answer.redirected || !answer.ok) throw new Error(answer.statusText);
    return answer.json();
  }
}

function* listPoints({ steps, width = 1, counts, times, values, lows = {}, highs = {} }) {
  const names = Object.keys(values);
  const pick = (columns, at) => Object.fromEntries(names.map((name) => [name, (columns[name] ?? values[name])[at]]));
  for (const [at, step] of steps.entries()) {
    const mean = pick(values, at);
    const point = { start: Math.floor(step / width) * width, step, rows: counts?.[at] ?? 1, time: times?.[at], mean };
    yield { ...point, low: width > 1 ? pick(lows, at) : mean, high: width > 1 ? pick(highs, at) : mean };
  }
}

// Running means over about `share` of all rows, each weighted as if its rows stood there one by one; without the pull
// towards zero that the first values of such a mean have.
function smoothCurve(means, rows, share) {
  const total = rows.reduce((sum, each) => sum + each, 0);
  const past = 1 - 1 / Math.max(1, share * total);
  let mean = 0;
  let weight = 0;
  return means.map((value, at) => {
    const kept = past ** rows[at];
    mean = kept * mean + (1 - kept) * value;
    weight = kept * weight + (1 - kept);
    return mean / weight;
  });
}
