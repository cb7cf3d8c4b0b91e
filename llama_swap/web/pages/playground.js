// A plain chat with a model, to see whether it works.

import { ask, at, refusal, visit } from "./api.js";
import { fill, make } from "./dom.js";
import { counted, duration, speed } from "./format.js";
import { listen, models } from "./live.js";
import { recall, remember } from "./memory.js";
import { saidIn } from "./said.js";
import { eventsOf } from "./sse.js";

let room = null; // the page, which is kept with its chat when another one is shown

export function open(place) {
  room ??= furnish();
  place.replaceChildren(room);
  const [choice, chat] = [room.querySelector("#chat-model"), room.querySelector("#chat")];
  chat.scrollTop = chat.scrollHeight;
  showChoice(choice);
  return listen((kinds) => (kinds.has("models") || kinds.has("profile")) && showChoice(choice));
}

function furnish() {
  const room = make("div", { className: "room" });
  fill(room, "page-playground");
  const part = (id) => room.querySelector(`#${id}`);
  let messages = [];
  let answering = null;

  async function send() {
    const content = part("question").value.trim();
    const model = part("chat-model").value;
    if (!content || !model || answering) return;
    part("question").value = "";
    part("chat-none").hidden = true;
    messages.push({ role: "user", content });
    turn(part("chat"), "user", "You").said.append(content);
    const place = turn(part("chat"), "assistant", model);
    const stop = (answering = new AbortController());
    showBusy();
    const said = await answer(model, messages, place, stop.signal);
    if (answering !== stop) return; // a new chat was begun
    if (said) messages.push({ role: "assistant", content: said });
    else part("question").value ||= messages.pop().content; // so that it can be asked again
    answering = null;
    showBusy();
    part("question").focus();
  }

  function begin() {
    answering?.abort();
    answering = null;
    messages = [];
    part("chat").replaceChildren(part("chat-none"));
    part("chat-none").hidden = false;
    showBusy();
    part("question").focus();
  }

  function showBusy() {
    part("send").hidden = Boolean(answering);
    part("stop").hidden = !answering;
    part("chat-new").disabled = !messages.length;
  }

  part("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  part("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  part("stop").addEventListener("click", () => answering?.abort());
  part("chat-new").addEventListener("click", begin);
  part("chat-model").addEventListener("change", ({ target }) => remember("playground-model", target.value));
  return room;
}

/** Offer all that a request may name: models, listed or not, and the other names in the list. */
async function showChoice(choice) {
  const listed = await ask("v1/models").then(({ data }) => data.map(({ id }) => id), () => []);
  const wanted = [...new Set([...models.keys(), ...listed])];
  if (wanted.join("\n") === [...choice.options].map((option) => option.value).join("\n")) return;
  const kept = choice.value || recall("playground-model");
  choice.replaceChildren(...wanted.map((key) => make("option", { value: key }, key)));
  choice.value = wanted.includes(kept) ? kept : wanted[0];
}

/** Add what one side says: {said, thought(), after}. */
function turn(chat, role, name) {
  const said = make("div", { className: "said" });
  const after = make("p", { className: "after" });
  const element = make("article", { className: `turn ${role}` }, make("h2", {}, name), said, after);
  let thoughts = null;
  const thought = () => {
    if (!thoughts) {
      thoughts = make("div");
      said.before(make("details", { open: true }, make("summary", {}, "Reasoning"), thoughts));
    }
    return thoughts;
  };
  chat.append(element);
  chat.scrollTop = chat.scrollHeight;
  return { chat, said, thought, after };
}

/** Have a model answer, and write it down as it comes; return the answer, as far as it came. */
async function answer(model, messages, { chat, said, thought, after }, signal) {
  const began = performance.now();
  const writer = new Writer(chat);
  let told = {};
  let problem = "";
  after.textContent = "Waiting…";
  try {
    const response = await visit(at("v1/chat/completions"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model, messages, stream: true }),
      signal,
    });
    if (!response.ok) throw new Error(await refusal(response));
    after.textContent = "Answering…";
    for await (const { data } of eventsOf(response.body)) {
      if (!data || data === "[DONE]") continue;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message ?? JSON.stringify(event.error));
      told = { ...told, ...event };
      const { content, reasoning } = saidIn(event);
      if (reasoning) writer.write(thought(), reasoning);
      if (content) writer.write(said, content);
    }
  } catch (error) {
    problem = signal.aborted ? "Stopped" : error.message;
  }
  writer.flush();
  after.classList.toggle("wrong", Boolean(problem) && !signal.aborted);
  after.textContent = [problem, duration(performance.now() - began), ...countsIn(told)].filter(Boolean).join(" · ");
  return said.textContent;
}

function countsIn({ usage, timings }) {
  const tokens = timings?.predicted_n ?? usage?.completion_tokens;
  const rate = timings?.predicted_per_second;
  return [tokens ? counted(tokens, "token") : "", rate ? `${speed(rate)} t/s` : ""];
}

/** Writes text at most once a frame, and keeps the end of it in view unless somebody scrolled away from there. */
class Writer {
  #waiting = new Map();
  #frame = 0;

  constructor(chat) {
    this.chat = chat;
  }

  write(element, text) {
    this.#waiting.set(element, (this.#waiting.get(element) ?? "") + text);
    this.#frame ||= requestAnimationFrame(() => this.flush());
  }

  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { scrollTop, scrollHeight, clientHeight } = this.chat;
    const follows = scrollHeight - clientHeight - scrollTop < 40;
    for (const [element, text] of this.#waiting) element.append(text);
    this.#waiting.clear();
    if (follows) this.chat.scrollTop = this.chat.scrollHeight;
  }
}
