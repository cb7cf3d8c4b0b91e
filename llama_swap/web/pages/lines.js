// The lines that the page keeps of one source: the newest, bounded in number and in characters.

import { parse } from "./ansi.js";
import { NOTHING } from "./search.js";

export const MOST_LINES = 20_000;
const MOST_CHARACTERS = 8_000_000;

let nextId = 1;

/** One line: an id that grows, its source, its text without controls, and where it is coloured. */
export function makeLine(source, raw) {
  const { text, runs } = parse(raw);
  return { id: nextId++, source, text, runs, hit: false, height: 0, layout: 0 };
}

/** Index of the first line in `lines` whose id is at least `id`. */
export function indexOf(lines, id) {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle].id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Lines {
  all = [];
  /** What is shown: `all` itself, or the lines of it that match. */
  view = this.all;
  hits = 0;
  #search = NOTHING;
  #only = false;
  #characters = 0;

  add(lines) {
    for (const line of lines) {
      line.hit = this.#search.active && this.#search.test(line.text);
      this.#characters += line.text.length;
      this.hits += line.hit;
      this.all.push(line);
      if (line.hit && this.view !== this.all) this.view.push(line);
    }
    this.#trim();
  }

  find(search, only) {
    if (search !== this.#search) {
      this.hits = 0;
      for (const line of this.all) this.hits += line.hit = search.active && search.test(line.text);
    }
    this.#search = search;
    this.#only = only;
    this.#select();
  }

  clear() {
    this.all = [];
    this.hits = this.#characters = 0;
    this.#select();
  }

  /** The next line that matches, from the one with this id on (not itself), forwards or backwards, around the end. */
  nextHit(id, step) {
    const start = indexOf(this.view, id) + (step < 0 ? this.view.length : 0);
    for (let i = 1; i <= this.view.length; i++) {
      const line = this.view[(start + step * i + this.view.length) % this.view.length];
      if (line.hit) return line;
    }
    return null;
  }

  #select() {
    this.view = this.#only && this.#search.active ? this.all.filter((line) => line.hit) : this.all;
  }

  #trim() {
    let gone = Math.max(0, this.all.length - MOST_LINES);
    for (let i = 0; i < gone; i++) this.#forget(this.all[i]);
    while (this.#characters > MOST_CHARACTERS && gone < this.all.length) this.#forget(this.all[gone++]);
    if (!gone) return;
    this.all.splice(0, gone);
    if (this.view === this.all) return;
    this.view.splice(0, indexOf(this.view, this.all.length ? this.all[0].id : Infinity));
  }

  #forget(line) {
    this.#characters -= line.text.length;
    this.hits -= line.hit;
  }
}
