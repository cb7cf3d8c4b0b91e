// Server-sent events by fetch(), which (unlike EventSource) shows why a server refuses, lets the heartbeat be
// watched, and slows the server down when the page cannot keep up.

import { refusal, visit } from "./api.js";

const SILENCE = 40_000; // ms; the heartbeat comes each 15 s
const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
const MOST_A_FRAME = 4_000;
const FRAME = 16; // ms

/** Yield the events of an answer's body as {event, data, id}; data is text.  Comments come as events without data. */
export async function* eventsOf(body, silence) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await unlessSilent(reader, silence);
      if (done) return;
      const events = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      rest = events.pop();
      for (const event of events) yield parsed(event);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export class EventStream {
  /**
   * `url()` says what to follow, at each attempt anew.  `onEvent({event, data, id})` may return how much work it made,
   * in any unit of which a page can do 4,000 a frame.  `onStatus(state, detail)` gets "connecting", "live" or "waiting".
   */
  constructor(url, onEvent, onStatus) {
    this.url = url;
    this.onEvent = onEvent;
    this.onStatus = onStatus;
    this.ended = new AbortController();
  }

  get isOpen() {
    return this.running && !this.ended.signal.aborted;
  }

  open() {
    this.close();
    this.running = true;
    this.ended = new AbortController();
    addEventListener("pagehide", () => this.#leave(), { signal: this.ended.signal });
    this.#run(this.ended.signal);
  }

  close() {
    this.ended.abort();
  }

  /** The page is left.  The browser may keep it to come back to, but not one of its few connections. */
  #leave() {
    this.close();
    addEventListener("pageshow", () => this.open(), { once: true });
  }

  async #run(ended) {
    let wait = FIRST_WAIT;
    while (!ended.aborted) {
      this.onStatus("connecting", "");
      let reason = "the proxy ended the stream";
      try {
        const response = await visit(this.url(), { signal: ended });
        if (!response.ok) throw new Error(await refusal(response));
        this.onStatus("live", "");
        wait = FIRST_WAIT;
        await this.#read(response.body, ended);
      } catch (error) {
        reason = error.message;
      }
      if (ended.aborted) return;
      this.onStatus("waiting", reason);
      await pause(wait, ended);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }

  async #read(body, ended) {
    let work = 0;
    for await (const event of eventsOf(body, SILENCE)) {
      if (ended.aborted) return;
      if (event.data) work += this.onEvent(event) ?? 0;
      if (work < MOST_A_FRAME || document.hidden) continue; // a hidden page draws nothing, and its timers are slow
      work = 0;
      await new Promise((resolve) => setTimeout(resolve, FRAME));
      if (ended.aborted) return;
    }
  }
}

/** Return the event that a text is: {event, data, id}. */
export function parsed(text) {
  const event = { event: "message", data: "", id: "" };
  for (const line of text.split(/\r?\n/)) {
    const [, name, value] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
    if (name === "data" && event.data) event.data += `\n${value}`;
    else if (name) event[name] = value;
  }
  return event;
}

/** Wait, but no longer than until the network or the user is back. */
function pause(time, ended) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const done = () => {
      over.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, time);
    for (const event of ["online", "focus"]) addEventListener(event, done, { signal: over.signal });
    ended.addEventListener("abort", done, { signal: over.signal });
  });
}

async function unlessSilent(reader, limit) {
  if (!limit) return reader.read();
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("nothing was heard from the proxy")), limit);
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } finally {
    clearTimeout(timer);
  }
}
