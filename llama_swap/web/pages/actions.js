// What can be done with a model: the same buttons in the list and on its own page.

import { ownServer, refusal, tell } from "./api.js";
import { icon, make } from "./dom.js";
import { moment } from "./format.js";
import { isActive } from "./live.js";
import { complain } from "./notice.js";

const loading = new Map(); // key -> what gives up waiting for it

/** Return {element, update(model)}: buttons to load and unload a model, and a link to its own server. */
export function actionsOf(model) {
  const act = make("button", { type: "button", className: "plain" });
  const open = make("a", { className: "icon", target: "_blank", rel: "noopener", href: ownServer(model.key) }, icon("open"));
  open.title = "Open the model's own server, which loads it";
  open.setAttribute("aria-label", `Open the server of ${model.key}`);
  act.addEventListener("click", () => (act.value === "load" ? load(model) : unload(model)));
  const element = make("div", { className: "actions" }, act, open);
  const update = ({ state, peerID }) => {
    const value = state === "stopped" ? "load" : "unload";
    act.hidden = Boolean(peerID);
    act.disabled = state === "stopping";
    if (act.value === value && act.textContent) return;
    act.value = value;
    act.textContent = value === "load" ? "Load" : "Unload";
    act.setAttribute("aria-label", `${act.textContent} ${model.key}`);
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
async function load({ key }) {
  const waiting = new AbortController();
  loading.set(key, waiting);
  try {
    const response = await fetch(ownServer(key), { signal: waiting.signal, cache: "no-store", redirect: "manual" });
    const ours = response.status >= 400 && (await response.clone().text()).startsWith('{"src": "llama-swap"');
    if (ours) complain(`${key} was not loaded: ${await refusal(response)}`);
    else response.body?.cancel();
  } catch (error) {
    if (!waiting.signal.aborted) complain(`${key} was not loaded: ${error.message}`);
  } finally {
    if (loading.get(key) === waiting) loading.delete(key);
  }
}

async function unload({ key }) {
  loading.get(key)?.abort();
  try {
    await tell(`api/models/unload/${encodeURIComponent(key)}`);
  } catch (error) {
    complain(`${key} was not unloaded: ${error.message}`);
  }
}

export async function unloadAll() {
  for (const waiting of loading.values()) waiting.abort();
  try {
    await tell("api/models/unload");
  } catch (error) {
    complain(`Not all models were unloaded: ${error.message}`);
  }
}

export const unloadable = (model) => isActive(model) && !model.peerID;
