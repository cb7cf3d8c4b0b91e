// One line as an element.  What a model prints goes in as text only, never as markup.

import { dress } from "./ansi.js";

const LEVEL = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(\w+)\]/; // as the proxy begins its own lines

/** Make the row of a line; its source is seen where it differs from that of the line before. */
export function makeRow(line, previous, search, hue) {
  const row = document.createElement("div");
  row.className = line.source ? "row" : "row notice";
  if (previous?.source !== line.source) row.classList.add("first");
  row.dataset.hue = hue;
  const level = line.source === "proxy" && LEVEL.exec(line.text);
  if (level) row.dataset.level = level[1];
  const label = document.createElement("span");
  label.className = "source";
  label.title = line.source;
  label.textContent = line.source;
  const text = document.createElement("span");
  text.className = "text";
  fill(text, line, line.hit ? search.ranges(line.text) : []);
  row.append(label, text);
  return row;
}

function fill(element, { text, runs }, ranges) {
  if (!runs && !ranges.length) {
    element.textContent = text;
    return;
  }
  const edges = new Set([0, text.length, ...ranges.flat()]);
  for (const { at } of runs ?? []) edges.add(at);
  const points = [...edges].sort((a, b) => a - b);
  let run = -1;
  let range = 0;
  for (let i = 0; i + 1 < points.length; i++) {
    const [start, end] = [points[i], points[i + 1]];
    while (runs && run + 1 < runs.length && runs[run + 1].at <= start) run++;
    while (range < ranges.length && ranges[range][1] <= start) range++;
    const marked = range < ranges.length && ranges[range][0] <= start;
    const piece = document.createElement(marked ? "mark" : "span");
    piece.textContent = text.slice(start, end);
    if (run >= 0) dress(piece, runs[run].style);
    element.append(piece);
  }
}
