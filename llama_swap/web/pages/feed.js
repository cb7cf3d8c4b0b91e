// The connection that brings log lines, and goes on after the last one that came.

import { ROOT } from "./api.js";
import { EventStream } from "./sse.js";

const HISTORY = 102_400; // bytes; all that the proxy keeps of a source

export class Feed {
  /**
   * `onText(source, text)` gets whole lines, and returns how many; `onSources(names)` gets all sources that there are;
   * `onStatus(state, detail)` is that of an `EventStream`.
   */
  constructor(onText, onSources, onStatus) {
    this.onText = onText;
    this.onSources = onSources;
    this.source = null;
    this.lastId = "";
    this.stream = new EventStream(() => this.#url(), (event) => this.#take(event), onStatus);
  }

  /** Follow a source (null: all together), from the history, or after the event `lastId`. */
  open(source, lastId) {
    this.source = source;
    this.lastId = lastId;
    this.stream.open();
  }

  close() {
    this.stream.close();
  }

  #url() {
    const path = this.source === null ? "" : `/${encodeURIComponent(this.source)}`;
    const url = new URL(`logs/streamSSE${path}`, ROOT);
    url.searchParams.set("bytes", HISTORY);
    if (this.lastId) url.searchParams.set("after", this.lastId);
    return url;
  }

  #take({ event, id, data }) {
    const value = JSON.parse(data);
    if (event === "sources") this.onSources(value);
    if (event !== "message") return 0;
    this.lastId = id;
    return this.onText(value.source, value.text);
  }
}
