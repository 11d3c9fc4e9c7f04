// Which words stand in one response only: framed in place, on a key. Words by Intl.Segmenter, so also in Chinese and
// Japanese; the comparison by jsdiff (static/vendor/jsdiff). Only text nodes are split and wrapped; no markup is made.

const MAX_MS = 1500;

let before = null; // the panes' children as they were

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });

/** Words of a pane in order: {text, node, start, end}; a formula is one word, and its node an element. */
const listWords = (pane) => {
  const words = [];
  const walker = document.createTreeWalker(pane, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, (node) => {
    if (node.nodeType === Node.TEXT_NODE) return NodeFilter.FILTER_ACCEPT;
    if (node.matches(".formula")) return NodeFilter.FILTER_ACCEPT;
    return node.parentElement.closest(".formula") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_SKIP;
  });
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.nodeType === Node.ELEMENT_NODE) words.push({ text: node.title, node });
    else if (!node.parentElement.closest(".formula")) {
      for (const { segment, index } of segmenter.segment(node.data)) {
        if (segment.trim()) words.push({ text: segment, node, start: index, end: index + segment.length });
      }
    }
  }
  return words;
};

const wrap = (node, name) => {
  const frame = document.createElement(name);
  node.replaceWith(frame);
  frame.append(node);
};

/** Frames words; neighbours in one text share a frame. Backwards, so that places in a text stay right. */
const frameWords = (words, name) => {
  const runs = [];
  for (const word of words) {
    const last = runs.at(-1);
    const joins = last?.node === word.node && last.end !== undefined && !word.node.data.slice(last.end, word.start).trim();
    if (joins) last.end = word.end;
    else runs.push({ ...word });
  }
  for (const { node, start, end } of runs.reverse()) {
    if (start === undefined) wrap(node, name);
    else {
      node.splitText(end);
      wrap(node.splitText(start), name);
    }
  }
  return runs.length;
};

const getPanes = () => [document.getElementById("left-text"), document.getElementById("right-text")];

export const forgetDiff = () => { before = null; };

/** Shows or hides the differences; says in a word of the toolbar's data what happened, or null where there is no pair. */
export const toggleDiff = () => {
  const panes = getPanes();
  if (!panes[0]) return null;
  if (before) {
    panes.forEach((pane, at) => pane.replaceChildren(...before[at]));
    before = null;
    return "off";
  }
  const [left, right] = panes.map(listWords);
  const texts = (words) => words.map((word) => word.text);
  const parts = window.Diff.diffArrays(texts(left), texts(right), { timeout: MAX_MS });
  if (!parts) return "tooDifferent";
  before = panes.map((pane) => [...pane.cloneNode(true).childNodes]);
  const [only, also] = [[], []];
  let [atLeft, atRight] = [0, 0];
  for (const { added, removed, count } of parts) {
    if (removed) only.push(...left.slice(atLeft, atLeft + count));
    if (added) also.push(...right.slice(atRight, atRight + count));
    if (!added) atLeft += count;
    if (!removed) atRight += count;
  }
  return frameWords(only, "del") + frameWords(also, "ins") ? "on" : "same";
};
