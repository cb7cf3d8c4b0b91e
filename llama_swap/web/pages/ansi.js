// Terminal output to plain text with styled runs.  Colours come out as class names or checked numbers,
// everything else that a terminal would obey is taken out.

// Groups: 1 the parameters of an SGR sequence.  The rest: other CSI, OSC, two-byte escapes, lone controls.
const CONTROL =
  /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -\/]*[@-~]?|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -\/]*[0-~]?|[\0-\x08\x0a-\x1f\x7f-\x9f]/g;
const HAS_CONTROL = /[\0-\x08\x0a-\x1f\x7f-\x9f]/;

const PLAIN = Object.freeze({ fg: null, bg: null, marks: "" });
const MARKS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const UNMARKS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

/** Return {text, runs}: runs is null for plain text, else [{at, style}] in order, each valid up to the next. */
export function parse(raw) {
  if (!HAS_CONTROL.test(raw)) return { text: raw, runs: null };
  let text = "";
  let last = 0;
  let style = PLAIN;
  const runs = [];
  for (const match of raw.matchAll(CONTROL)) {
    text += raw.slice(last, match.index);
    last = match.index + match[0].length;
    if (match[1] === undefined) continue;
    style = applied(style, match[1].split(/[;:]/).map(Number));
    runs.push({ at: text.length, style });
  }
  text += raw.slice(last);
  return { text, runs: runs.some((run) => run.style !== PLAIN) ? runs : null };
}

/** Put a run's style on an element; by classes and style properties, never by markup. */
export function dress(element, style) {
  const classes = style.marks.split(" ").filter(Boolean);
  for (const [side, colour] of [["fg", style.fg], ["bg", style.bg]]) {
    if (colour === null) continue;
    if (typeof colour === "number") classes.push(`${side}${colour}`);
    else element.style[side === "fg" ? "color" : "backgroundColor"] = colour;
  }
  element.className = classes.join(" ");
}

function applied(style, codes) {
  let { fg, bg, marks } = style;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) ({ fg, bg, marks } = PLAIN);
    else if (code in MARKS) marks = `${without(marks, [MARKS[code]])} ${MARKS[code]}`;
    else if (code in UNMARKS) marks = without(marks, UNMARKS[code]);
    else if (code >= 30 && code <= 37) fg = code - 30;
    else if (code >= 90 && code <= 97) fg = code - 82;
    else if (code === 39) fg = null;
    else if (code >= 40 && code <= 47) bg = code - 40;
    else if (code >= 100 && code <= 107) bg = code - 92;
    else if (code === 49) bg = null;
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes, i + 1);
      if (code === 38) fg = colour;
      else bg = colour;
      i += used;
    }
  }
  return fg === null && bg === null && !marks.trim() ? PLAIN : { fg, bg, marks };
}

function extended(codes, i) {
  const byte = (value) => Math.min(255, value | 0);
  if (codes[i] === 2) return [`rgb(${byte(codes[i + 1])} ${byte(codes[i + 2])} ${byte(codes[i + 3])})`, 4];
  if (codes[i] !== 5) return [null, codes.length];
  const index = byte(codes[i + 1]);
  if (index < 16) return [index, 2];
  if (index > 231) return [`rgb(${`${8 + (index - 232) * 10} `.repeat(3)})`, 2];
  const level = (step) => (step ? 55 + 40 * step : 0);
  const cube = index - 16;
  return [`rgb(${level((cube / 36) | 0)} ${level(((cube / 6) | 0) % 6)} ${level(cube % 6)})`, 2];
}

function without(marks, gone) {
  return marks.split(" ").filter((mark) => mark && !gone.includes(mark)).join(" ");
}
