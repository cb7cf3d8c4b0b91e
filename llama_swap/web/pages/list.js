// A list of which only the rows in sight exist.  Rows may differ in height: heights are guessed from the text,
// and put right once a row has been laid out.

import { indexOf } from "./lines.js";

const FOOT = 8; // px of air below the last row
const INDENT = 2; // characters by which the first row of a broken line is longer; see .wrap .text in logs.css
const MARGIN = 400; // px of rows kept above and below what is in sight
const WIDE = /[\u1100-\uffff]/;

export class RowList {
  following = true;
  #lines = [];
  #rows = new Map();
  #stale = false; // whether all rows are to be made anew
  #tops = new Float64Array(1);
  #layout = 1; // grows when heights change for all; a line's height belongs to the layout that it names
  #columns = 80;
  #row = 20; // px; as high as a line that is not broken
  #wrap = true;
  #anchor = { id: 0, offset: 0 }; // the line at the upper edge, and how far it is above it
  #scrolled = 0; // where we have put the scroll bar
  #frame = 0;
  #topRow = null;

  /** `makeRow(line, previous)` returns an element for a line; `onFollow()` is told when `following` changes. */
  constructor(viewport, makeRow, onFollow) {
    this.viewport = viewport;
    [this.above, this.container, this.below] = viewport.children;
    this.makeRow = makeRow;
    this.onFollow = onFollow;
    viewport.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.#relayout()).observe(viewport);
  }

  /** Show these lines, soon; the same array may have changed. */
  show(lines) {
    if (lines !== this.#lines) this.#stale = true;
    this.#lines = lines;
    this.schedule();
  }

  /** Make all rows anew: what they show of a line, or how wide they are, has changed. */
  refresh() {
    this.#stale = true;
    this.#relayout();
  }

  set wrap(wrap) {
    this.#wrap = wrap;
    this.viewport.classList.toggle("wrap", wrap);
    this.#relayout();
  }

  follow(following) {
    this.#setFollowing(following);
    this.schedule();
  }

  /** Bring a line to a third of the height. */
  reveal(line) {
    this.#setFollowing(false);
    this.#anchor = { id: line.id, offset: -Math.round(this.viewport.clientHeight / 3) };
    this.schedule();
  }

  get topId() {
    return this.#anchor.id;
  }

  schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #setFollowing(following) {
    if (following === this.following) return;
    this.following = following;
    this.onFollow();
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.viewport;
    if (Math.abs(scrollTop - this.#scrolled) < 1) return; // our own doing
    this.#scrolled = scrollTop;
    this.#setAnchor(scrollTop);
    this.#setFollowing(scrollTop + clientHeight >= scrollHeight - 2);
    this.schedule();
  }

  #setAnchor(scrollTop) {
    const index = this.#indexAt(scrollTop);
    if (index < this.#lines.length) {
      this.#anchor = { id: this.#lines[index].id, offset: scrollTop - this.#tops[index] };
    }
  }

  #dropRows() {
    this.container.replaceChildren();
    this.#rows.clear();
    this.#stale = false;
  }

  #relayout() {
    this.#layout++;
    this.#columns = this.#measureColumns();
    this.#row = parseFloat(getComputedStyle(this.viewport).lineHeight);
    this.schedule();
  }

  #measureColumns() {
    const row = document.createElement("div");
    const text = document.createElement("span");
    const ruler = document.createElement("span");
    [row.className, text.className, ruler.className] = ["row", "text", "ruler"];
    ruler.textContent = "0".repeat(100);
    const gutter = document.createElement("span");
    gutter.className = "source";
    text.append(ruler);
    row.append(gutter, text);
    this.container.append(row);
    const width = text.getBoundingClientRect().width - parseFloat(getComputedStyle(text).paddingLeft);
    const columns = Math.floor((100 * width) / ruler.getBoundingClientRect().width + 0.01);
    row.remove();
    return Math.max(1, columns);
  }

  #heightOf(line) {
    if (line.layout !== this.#layout) {
      const cells = WIDE.test(line.text) ? line.text.length * 2 : line.text.length;
      line.height = this.#row * (this.#wrap ? Math.max(1, Math.ceil((cells - INDENT) / this.#columns)) : 1);
      line.layout = this.#layout;
    }
    return line.height;
  }

  #measureTops() {
    const count = this.#lines.length;
    if (this.#tops.length <= count) this.#tops = new Float64Array(count * 2 + 1);
    const tops = this.#tops;
    for (let i = 0, top = 0; i < count; i++) tops[i + 1] = top += this.#heightOf(this.#lines[i]);
    return tops[count];
  }

  #indexAt(y) {
    let low = 0;
    let high = this.#lines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#tops[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #render() {
    const total = this.#measureTops();
    const height = this.viewport.clientHeight;
    const lowest = Math.max(0, total + FOOT - height);
    const at = indexOf(this.#lines, this.#anchor.id);
    const kept = this.#lines[at]?.id === this.#anchor.id;
    const anchored = this.#tops[Math.min(at, this.#lines.length)] + (kept ? this.#anchor.offset : 0);
    const y = this.following ? lowest : Math.min(lowest, Math.max(0, anchored));
    const first = this.#indexAt(y - MARGIN);
    const end = Math.min(this.#lines.length, this.#indexAt(y + height + MARGIN) + 1);

    this.#placeRows(first, end);
    this.above.style.height = `${this.#tops[first]}px`;
    this.below.style.height = `${total - this.#tops[end] + FOOT}px`;
    this.#markTop(this.#lines[this.#indexAt(y + this.#row - 1)]);
    if (this.#wrap && this.#correctHeights(first, end)) this.schedule();

    const target = this.following ? this.viewport.scrollHeight : y;
    if (Math.abs(this.viewport.scrollTop - target) >= 1) this.viewport.scrollTop = target;
    this.#scrolled = this.viewport.scrollTop;
    if (this.following) this.#setAnchor(this.#scrolled);
  }

  #placeRows(first, end) {
    // Not sooner: without rows the viewport would scroll by itself, which looks like a user's scrolling.
    if (this.#stale) this.#dropRows();
    const wanted = new Set();
    for (let i = first; i < end; i++) wanted.add(this.#lines[i].id);
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    // Rows that stay are not touched, so that a selection in them stays too.
    let cursor = this.container.firstChild;
    for (let i = first; i < end; i++) {
      const line = this.#lines[i];
      let row = this.#rows.get(line.id);
      if (!row) {
        row = this.makeRow(line, this.#lines[i - 1]);
        this.#rows.set(line.id, row);
      }
      if (row === cursor) cursor = cursor.nextSibling;
      else this.container.insertBefore(row, cursor);
    }
  }

  /** The row at the upper edge is told apart, so that it can name its source. */
  #markTop(line) {
    const row = line ? this.#rows.get(line.id) : null;
    if (row === this.#topRow) return;
    this.#topRow?.classList.remove("top");
    row?.classList.add("top");
    this.#topRow = row;
  }

  #correctHeights(first, end) {
    let wrong = false;
    for (let i = first; i < end; i++) {
      const line = this.#lines[i];
      const { offsetHeight } = this.#rows.get(line.id);
      if (offsetHeight === line.height) continue;
      line.height = offsetHeight;
      wrong = true;
    }
    return wrong;
  }
}
