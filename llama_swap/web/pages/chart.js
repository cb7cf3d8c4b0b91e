// Lines over time, as SVG; what the pointer is at is told in the caption.

import { make, setText } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 120;

/** Return {element, update(series, from, to)}; series is [{name, points: [[time, value], …]}], times are in ms. */
export function chart(title, { most = 0, format }) {
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const pointer = draw("line", { class: "pointer", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const grid = [0, 0.5, 1].map((part) => draw("line", { x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }));
  const lines = draw("g", {});
  svg.append(...grid, lines, pointer);
  const top = make("span", { className: "top" });
  const caption = make("figcaption", {}, make("b", {}, title), top);
  const scale = { from: make("span"), to: make("span") };
  const element = make("figure", {}, caption, svg, make("p", { className: "scale" }, ...Object.values(scale)));
  let shown = { series: [], from: 0, to: 1 };

  function update(series, from, to) {
    shown = { series, from, to };
    const height = most || nice(Math.max(1, ...series.flatMap(({ points }) => points.map(([, value]) => value))));
    lines.replaceChildren(...series.map(({ points }, index) => line(points, index, from, to, height)));
    setText(scale.from, clock(from));
    setText(scale.to, clock(to));
    setText(top, `0 – ${format(height)}`);
    tell(to);
  }

  function tell(time) {
    const parts = shown.series.map(({ name, points }, index) => {
      const value = valueAt(points, time);
      const text = `${name ? `${name} ` : ""}${value === null ? "–" : format(value)}`;
      return make("span", { "data-hue": index % 8 }, text);
    });
    caption.replaceChildren(caption.firstChild, top, ...parts);
    svg.setAttribute("aria-label", `${title}: ${parts.map((part) => part.textContent).join(", ")}`);
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    for (const end of ["x1", "x2"]) pointer.setAttribute(end, WIDTH * part);
    pointer.setAttribute("visibility", "visible");
    const time = shown.from + part * (shown.to - shown.from);
    setText(scale.to, clock(time));
    tell(time);
  });
  svg.addEventListener("pointerleave", () => {
    pointer.setAttribute("visibility", "hidden");
    setText(scale.to, clock(shown.to));
    tell(shown.to);
  });
  return { element, update };
}

function line(points, index, from, to, height) {
  const at = ([time, value]) => {
    const x = (WIDTH * (time - from)) / (to - from);
    const y = HEIGHT * (1 - Math.min(1, value / height));
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  };
  const path = points.map((point, number) => (number ? "L" : "M") + at(point)).join("");
  return draw("path", { d: path, "data-hue": index % 8 });
}

function valueAt(points, time) {
  let best = null;
  for (const [when, value] of points) {
    if (best !== null && when > time) break;
    best = value;
  }
  return best;
}

/** The next round number. */
function nice(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * size >= value) * size;
}

function clock(time) {
  return new Date(time).toLocaleTimeString();
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
