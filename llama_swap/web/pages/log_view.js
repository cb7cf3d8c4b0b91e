// Log lines with what can be done with them: joins the connection, the kept lines, the search and the list of rows.

import { fill, isPressed, press } from "./dom.js";
import { Feed } from "./feed.js";
import { counted, count } from "./format.js";
import { Lines, makeLine, MOST_LINES } from "./lines.js";
import { RowList } from "./list.js";
import { makeRow } from "./row.js";
import { compile, NOTHING } from "./search.js";

const KEPT_SOURCES = 4; // whose lines survive while another one is looked at

export class LogView {
  #kept = new Map(); // source -> {lines, lastId}; the latest used last
  #source = null;
  #lines = new Lines();
  #search = NOTHING;
  #current = null; // the match that was jumped to
  #paused = false;
  #held = []; // lines that came during the pause
  #lost = 0; // how many of those were not kept
  #frame = 0;
  #closed = new AbortController();

  /**
   * `onSources(names)` gets all sources that there are, `onSource(name)` one that has spoken; `hue(name)` is its colour.
   * Its keys are obeyed within `keys`.
   */
  constructor(place, { onSources = () => {}, onSource = () => {}, hue = () => "none", keys = place } = {}) {
    fill(place, "log-view");
    this.place = place;
    this.onSource = onSource;
    this.hue = hue;
    this.keys = keys;
    this.list = new RowList(this.#part("log"), (line, previous) => this.#rowOf(line, previous), () => this.#showFollow());
    this.feed = new Feed((from, text) => this.#take(from, text), onSources, (...status) => this.#showStatus(...status));
    this.list.wrap = true;
    this.#listen();
  }

  /** Follow a source; "" is all together. */
  open(source) {
    if (this.#paused) this.#pause(false);
    if (this.#source !== null) this.#keep();
    const before = this.#kept.get(source) ?? { lines: new Lines(), lastId: "" };
    this.#source = source;
    this.#lines = before.lines;
    this.#lines.find(this.#search, isPressed(this.#part("only")));
    this.#current = null;
    this.#part("log").classList.toggle("mixed", source === "" || source === "upstream");
    this.list.follow(true);
    this.refresh();
    this.feed.open(source || null, before.lastId);
  }

  /** Make all rows anew, as when hues have changed. */
  refresh() {
    this.list.refresh();
    this.#show();
  }

  close() {
    this.feed.close();
    this.#closed.abort();
  }

  #part(id) {
    return this.place.querySelector(`#${id}`);
  }

  // ---- lines ----

  #keep() {
    this.#kept.delete(this.#source);
    this.#kept.set(this.#source, { lines: this.#lines, lastId: this.feed.lastId });
    if (this.#kept.size > KEPT_SOURCES) this.#kept.delete(this.#kept.keys().next().value);
  }

  #take(from, text) {
    const fresh = text.split("\n").slice(0, -1).map((raw) => makeLine(from, raw));
    this.onSource(from);
    if (this.#paused) this.#hold(fresh);
    else this.#lines.add(fresh);
    this.#show();
    return fresh.length;
  }

  #hold(fresh) {
    this.#held.push(...fresh);
    const surplus = Math.max(0, this.#held.length - MOST_LINES);
    this.#held.splice(0, surplus);
    this.#lost += surplus;
  }

  #release() {
    if (this.#lost) this.#lines.add([makeLine("", `— ${counted(this.#lost, "line")} of the pause not kept —`)]);
    this.#lines.add(this.#held);
    this.#held = [];
    this.#lost = 0;
  }

  #rowOf(line, previous) {
    const row = makeRow(line, previous, this.#search, this.hue(line.source));
    row.classList.toggle("current", line === this.#current);
    return row;
  }

  // ---- what is shown around the lines ----

  #show() {
    this.list.show(this.#lines.view);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      const { all, view, hits } = this.#lines;
      const matches = this.#search.active ? counted(hits, "matching line") : "";
      this.#part("matches").textContent = this.#search.error ? "not a valid regex" : matches;
      this.#part("count").textContent = counted(all.length, "line");
      const waiting = this.#held.length ? `Resume · ${count(this.#held.length + this.#lost)} new` : "Resume";
      this.#part("pause-label").textContent = this.#paused ? waiting : "Pause";
      this.#part("empty").hidden = view.length > 0;
      this.#part("empty").textContent = all.length
        ? "No line matches the search."
        : "No lines yet. They appear here as they come.";
    });
  }

  #showStatus(state, detail) {
    this.#part("status").dataset.state = state;
    this.#part("status-text").textContent = {
      live: "Live",
      connecting: "Connecting…",
      waiting: `Disconnected, trying again (${detail})`,
    }[state];
  }

  #showFollow() {
    press(this.#part("follow"), this.list.following);
    this.#part("latest").hidden = this.list.following;
  }

  // ---- controls ----

  #listen() {
    const on = (id, event, act) => this.#part(id).addEventListener(event, act);
    const toggle = (id) => {
      press(this.#part(id), !isPressed(this.#part(id)));
      return isPressed(this.#part(id));
    };
    on("search-form", "submit", (event) => event.preventDefault());
    on("search", "input", () => this.#find());
    on("search", "keydown", (event) => this.#keyInSearch(event));
    on("only", "click", () => {
      toggle("only");
      this.#find();
    });
    on("follow", "click", () => this.list.follow(!this.list.following));
    on("latest", "click", () => this.list.follow(true));
    on("pause", "click", () => this.#pause(!this.#paused));
    on("wrap", "click", () => (this.list.wrap = toggle("wrap")));
    on("clear", "click", () => this.#clear());
    this.keys.addEventListener("keydown", (event) => this.#key(event), { signal: this.#closed.signal });
  }

  #pause(on) {
    this.#paused = on;
    press(this.#part("pause"), on);
    this.#part("pause-icon").setAttribute("href", on ? "#icon-resume" : "#icon-pause");
    if (!on) this.#release();
    this.#show();
  }

  #find() {
    const box = this.#part("search");
    this.#search = compile(box.value);
    box.setAttribute("aria-invalid", String(Boolean(this.#search.error)));
    box.title = this.#search.error;
    this.#current = null;
    this.#lines.find(this.#search, isPressed(this.#part("only")));
    this.refresh();
  }

  #jump(step) {
    const line = this.#search.active ? this.#lines.nextHit(this.#current?.id ?? this.list.topId, step) : null;
    if (!line) return;
    this.#current = line;
    this.list.refresh();
    this.list.reveal(line);
  }

  #clear() {
    this.#held = [];
    this.#lost = 0;
    this.#lines.clear();
    this.list.follow(true);
    this.#show();
  }

  #keyInSearch(event) {
    if (event.key === "Enter") this.#jump(event.shiftKey ? -1 : 1);
    if (event.key !== "Escape") return;
    this.#part("search").value = "";
    this.#find();
    this.#part("log").focus();
  }

  #key(event) {
    const id = { "/": "search", f: "follow", w: "wrap", " ": "pause" }[event.key];
    const typing = event.target.closest("input, textarea, select");
    const pressing = event.key === " " && event.target.closest("button, summary, a");
    if (!id || typing || pressing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (id === "search") this.#part(id).focus();
    else this.#part(id).click();
  }
}
