// What can be done with a model: the same buttons in the list and on its own page.

import { ownServer, refusal, tell, visit } from "./api.js";
import { icon, make } from "./dom.js";
import { moment } from "./format.js";
import { isActive, listen, models, note } from "./live.js";
import { complain } from "./notice.js";

const waiting = new Map(); // key of a model that shall be loaded -> what gives that up, as long as it has not begun
const starting = new Set(); // keys of those that have begun, until it is known what became of them
const WORDS = { load: "Load", cancel: "Cancel", unload: "Unload" };

/** Return {element, update(model)}: buttons to load and unload a model, and a link to its own server. */
export function actionsOf(model) {
  const act = make("button", { type: "button", className: "plain" });
  const open = make("a", { className: "icon", target: "_blank", rel: "noopener", href: ownServer(model.key) }, icon("open"));
  open.title = "Open the model's own server, which loads it";
  open.setAttribute("aria-label", `Open the server of ${model.key}`);
  act.addEventListener("click", () => ({ load, cancel, unload })[act.value](model.key));
  const element = make("div", { className: "actions" }, act, open);
  const update = ({ key, state, peerID }) => {
    const value = state !== "stopped" ? "unload" : waiting.has(key) ? "cancel" : "load";
    act.hidden = Boolean(peerID);
    act.disabled = state === "stopping";
    if (act.value === value && act.textContent) return;
    act.value = value;
    act.textContent = WORDS[value];
    act.setAttribute("aria-label", `${act.textContent}${value === "cancel" ? " loading" : ""} ${key}`);
  };
  update(model);
  return { element, update };
}

/** Write the state of a model, in a word; of one that has stopped because it failed, since when it has. */
export function showState(element, { state, peerID, failure }) {
  const hasFailed = state === "stopped" && failure;
  const own = hasFailed ? `failed ${moment(failure.at)}` : state;
  const text = state === "unknown" ? "at a peer" : peerID ? "peer does not answer" : own;
  if (element.textContent === text) return;
  element.textContent = text;
  element.className = "state";
  element.dataset.is = hasFailed ? "failed" : state;
}

/** Why a model failed, without what it printed. */
export const shortly = ({ message }) => message.split("; its last output was:\n")[0];

/** Load a model by visiting its server. */
async function load(key) {
  const visiting = new AbortController();
  waiting.set(key, visiting);
  note("models");
  try {
    const response = await visit(ownServer(key), { signal: visiting.signal, redirect: "manual" });
    const ours = response.status >= 400 && (await response.clone().text()).startsWith('{"src": "llama-swap"');
    if (ours) complain(`${key} was not loaded: ${await refusal(response)}`);
    else response.body?.cancel();
  } catch (error) {
    if (!visiting.signal.aborted) complain(`${key} was not loaded: ${error.message}`);
  } finally {
    waiting.delete(key);
    note("models");
  }
}

// A browser has few connections, and a load may take minutes: one that has begun goes on without a visitor.
listen((kinds) => {
  if (!kinds.has("models")) return;
  for (const [key, visiting] of waiting) {
    if (models.get(key)?.state !== "starting") continue;
    starting.add(key);
    visiting.abort();
  }
  for (const key of starting) {
    const { state, failure } = models.get(key) ?? {};
    if (state === "starting" || state === "stopping") continue; // what failed may take its time to leave
    starting.delete(key);
    if (state === "stopped" && failure) complain(`${key} was not loaded: ${failure.message}`);
  }
});

function cancel(key) {
  waiting.get(key)?.abort();
}

async function unload(key) {
  cancel(key);
  try {
    await tell(`api/models/unload/${encodeURIComponent(key)}`);
  } catch (error) {
    complain(`${key} was not unloaded: ${error.message}`);
  }
}

export async function unloadAll() {
  for (const visiting of waiting.values()) visiting.abort();
  try {
    await tell("api/models/unload");
  } catch (error) {
    complain(`Not all models were unloaded: ${error.message}`);
  }
}

export const unloadable = (model) => isActive(model) && !model.peerID;
