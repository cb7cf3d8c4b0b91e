// The requests that are over: a table, sorted and cut into pages by the proxy.

import { ask, modelPage } from "./api.js";
import { showCapture } from "./capture.js";
import { fill, make, Rows, setText } from "./dom.js";
import { count, duration, known, moment, NOTHING, speed } from "./format.js";
import { models } from "./live.js";

const PAUSE = 500; // ms between two looks, however much happens

// What the proxy sorts by, the title, and what a cell shows.
const COLUMNS = [
  ["time", "Time", (entry) => moment(entry.timestamp)],
  ["model", "Model", (entry) => linked(entry.model)],
  ["req_path", "Request", requestOf],
  ["resp_status_code", "Status", statusOf],
  ["prompt", "Prompt", ({ tokens }) => known(tokens.input_tokens)],
  ["cached", "Cached", ({ tokens }) => known(tokens.cache_tokens)],
  ["generated", "Generated", ({ tokens }) => known(tokens.output_tokens)],
  ["prompt_speed", "Prompt t/s", ({ tokens }) => speed(tokens.prompt_per_second)],
  ["gen_speed", "Gen. t/s", ({ tokens }) => speed(tokens.tokens_per_second)],
  ["duration", "Duration", (entry) => duration(entry.duration_ms)],
];
const NUMBERS = new Set(["prompt", "cached", "generated", "prompt_speed", "gen_speed", "duration"]);

export class Finished {
  #sort = "time";
  #order = "desc";
  #page = 1;
  #timer = 0; // of the next look, or of the one under way
  #missed = false; // whether that one may not have seen the latest
  #question = 0; // of which the answer is wanted; earlier ones come too late

  /** `model` is an id, or "" for all; `limit` is how many make a page. */
  constructor(place, model, limit) {
    fill(place, "finished-table");
    this.place = place;
    this.model = model;
    this.limit = limit;
    this.rows = new Rows(this.#part("finished-rows"), ({ id, timestamp }) => `${id} ${timestamp}`, makeRow);
    this.#part("finished-head").append(...COLUMNS.map((column) => this.#heading(column)), make("th"));
    this.#part("newer").addEventListener("click", () => this.#turn(-1));
    this.#part("older").addEventListener("click", () => this.#turn(1));
    this.#look();
  }

  /** Show those of another model. */
  choose(model) {
    this.model = model;
    this.#page = 1;
    this.#look();
  }

  /** There are new ones. */
  update() {
    this.#missed = true;
    this.#timer ||= setTimeout(() => this.#look(), PAUSE);
  }

  close() {
    clearTimeout(this.#timer);
    this.#question = -1;
  }

  #part(id) {
    return this.place.querySelector(`#${id}`);
  }

  #heading([key, title]) {
    const button = make("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      this.#order = this.#sort === key && this.#order === "desc" ? "asc" : "desc";
      this.#sort = key;
      this.#page = 1;
      this.#look();
    });
    return make("th", { scope: "col", className: NUMBERS.has(key) ? "number" : "", "data-key": key }, button);
  }

  #turn(step) {
    this.#page += step;
    this.#look();
  }

  async #look() {
    const question = ++this.#question;
    this.#missed = false;
    const query = new URLSearchParams({ page: this.#page, limit: this.limit, sort: this.#sort, order: this.#order });
    if (this.model) query.set("model", this.model);
    try {
      const page = await ask(`api/metrics/activity?${query}`);
      if (question === this.#question) this.#show(page);
    } catch (error) {
      if (question === this.#question) this.#say(`This cannot be shown: ${error.message}`);
    }
    if (question !== this.#question) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#missed) this.update();
  }

  #say(text) {
    setText(this.#part("finished-none"), text);
    this.#part("finished-none").hidden = !text;
  }

  #show({ data, page, total, total_pages: pages }) {
    if (page > pages && pages) return this.#turn(pages - page); // there were more before the proxy was started anew
    this.rows.show(data);
    for (const heading of this.place.querySelectorAll("th[data-key]")) {
      if (heading.dataset.key !== this.#sort) heading.removeAttribute("aria-sort");
      else heading.setAttribute("aria-sort", this.#order === "desc" ? "descending" : "ascending");
    }
    this.#say(total ? "" : "No request has been answered yet.");
    this.place.querySelector("table").hidden = !total;
    this.place.querySelector(".pager").hidden = pages <= 1;
    setText(this.#part("page-number"), `Page ${count(page)} of ${count(pages)}`);
    this.#part("newer").disabled = page <= 1;
    this.#part("older").disabled = page >= pages;
  }
}

function makeRow(entry) {
  const cells = COLUMNS.map(([key, title, show]) => {
    const isNumber = NUMBERS.has(key);
    const className = isNumber ? "number" : key === "model" || key === "req_path" ? "long" : "fit";
    const cell = make("td", { className, "data-key": key }, ...[show(entry)].flat());
    if (isNumber) cell.dataset.label = title;
    cell.classList.toggle("unknown", cell.textContent === NOTHING);
    return cell;
  });
  const view = make("button", { type: "button", className: "link", "aria-label": `View request ${entry.id}` }, "View");
  view.addEventListener("click", () => showCapture(entry));
  const element = make("tr", {}, ...cells, make("td", { className: "fit" }, view));
  const update = ({ has_capture, error_msg: error }) => {
    view.hidden = !has_capture && !error;
  };
  return { element, update };
}

function linked(model) {
  return models.has(model) ? make("a", { href: modelPage(model) }, model) : model;
}

function requestOf({ req_path: path, metadata }) {
  const tags = Object.entries(metadata).map(([name, value]) => make("span", { className: "tag", title: name }, value));
  return [path, ...tags];
}

function statusOf({ resp_status_code: status, error_msg: error }) {
  const wrong = error || status >= 400;
  return make("span", { className: wrong ? "wrong" : "", title: error }, error && status < 400 ? "broken" : String(status || "none"));
}
