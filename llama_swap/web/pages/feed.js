// The connection: server-sent events by fetch(), which (unlike EventSource) shows why a server refuses,
// lets the heartbeat be watched, and slows the server down when the page cannot keep up.

const HISTORY = 102_400; // bytes; all that the proxy keeps of a source
const SILENCE = 40_000; // ms; the heartbeat comes each 15 s
const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
const LINES_A_FRAME = 4_000;
const FRAME = 16; // ms

const BASE = new URL("../", import.meta.url); // wherever /logs/ is mounted

export class Feed {
  /**
   * `onText(source, text)` gets whole lines, and returns how many; `onSources(names)` gets all sources that there are;
   * `onStatus(state, detail)` gets "connecting", "live" or "waiting".
   */
  constructor(onText, onSources, onStatus) {
    this.onText = onText;
    this.onSources = onSources;
    this.onStatus = onStatus;
    this.lastId = "";
    this.ended = new AbortController();
    this.wake = () => {};
    for (const event of ["online", "focus"]) addEventListener(event, () => this.wake());
  }

  /** Follow a source (null: all together), from the history, or after the event `lastId`. */
  open(source, lastId) {
    this.close();
    this.lastId = lastId;
    this.ended = new AbortController();
    this.#run(source, this.ended.signal);
  }

  close() {
    this.ended.abort();
  }

  async #run(source, ended) {
    let wait = FIRST_WAIT;
    while (!ended.aborted) {
      this.onStatus("connecting", "");
      let reason = "the proxy ended the stream";
      try {
        const response = await fetch(this.#url(source), { signal: ended, cache: "no-store" });
        if (!response.ok) throw new Error(await refusal(response));
        this.onStatus("live", "");
        wait = FIRST_WAIT;
        await this.#read(response.body.getReader(), ended);
      } catch (error) {
        reason = error.message;
      }
      if (ended.aborted) return;
      this.onStatus("waiting", reason);
      await this.#sleep(wait);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }

  #url(source) {
    const path = source === null ? "streamSSE" : `streamSSE/${encodeURIComponent(source)}`;
    const url = new URL(path, BASE);
    url.searchParams.set("bytes", HISTORY);
    if (this.lastId) url.searchParams.set("after", this.lastId);
    return url;
  }

  async #read(reader, ended) {
    const decoder = new TextDecoder();
    let rest = "";
    let lines = 0;
    for (;;) {
      const { done, value } = await unlessSilent(reader);
      if (done || ended.aborted) return;
      const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = events.pop();
      for (const event of events) lines += this.#take(event);
      if (lines < LINES_A_FRAME || document.hidden) continue; // a hidden page draws nothing, and its timers are slow
      lines = 0;
      await new Promise((resolve) => setTimeout(resolve, FRAME));
      if (ended.aborted) return;
    }
  }

  #take(event) {
    const fields = { event: "lines" };
    for (const field of event.split("\n")) {
      const [, name, value] = /^(\w*): (.*)$/.exec(field) ?? [];
      if (name) fields[name] = value;
    }
    if (!fields.data) return 0; // the heartbeat
    const data = JSON.parse(fields.data);
    if (fields.event === "sources") this.onSources(data);
    if (fields.event !== "lines") return 0;
    this.lastId = fields.id;
    return this.onText(data.source, data.text);
  }

  #sleep(wait) {
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, wait);
    });
  }
}

async function unlessSilent(reader) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("nothing was heard from the proxy")), SILENCE);
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function refusal(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return text.length < 200 && !text.startsWith("<") ? text : `status ${response.status}`;
  }
}
