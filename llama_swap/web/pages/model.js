// One model: what it is, what it does, what it was asked, and what it prints.

import { actionsOf, showState } from "./actions.js";
import { ask, at } from "./api.js";
import { fact, fill, setText } from "./dom.js";
import { Finished } from "./finished.js";
import { count, duration, speed } from "./format.js";
import { listen, models, now } from "./live.js";
import { LogView } from "./log_view.js";
import { showUnderWay } from "./under_way.js";

const A_PAGE = 10;

export function open(place, key) {
  fill(place, "page-model");
  const part = (id) => place.querySelector(`#${id}`);
  part("back").href = at("ui/models");
  part("title").textContent = key;
  const parts = []; // what is to be closed
  const details = detailsIn(part("details"), key);
  let show = begin;

  /** Fill the page, as soon as the model is known. */
  function begin() {
    const model = models.get(key);
    if (!model) {
      if (now.modelsKnown) setText(part("state"), "There is no such model.");
      return;
    }
    const actions = actionsOf(model);
    part("actions").append(actions.element);
    const underWay = showUnderWay(part("own-under-way"), key);
    const finished = new Finished(part("own-finished"), key, A_PAGE);
    parts.push(underWay, finished);
    part("own-lines").hidden = Boolean(model.peerID);
    part("all-lines").href = at(`ui/logs#${encodeURIComponent(model.id)}`);
    if (!model.peerID) {
      const log = new LogView(part("own-log"));
      log.open(model.id);
      parts.push(log);
    }
    let told = "";
    show = (kinds) => {
      const present = models.get(key);
      if (!present) {
        setText(part("state"), "It is no longer configured.");
        part("actions").hidden = true;
        return;
      }
      part("actions").hidden = false;
      if (kinds.has("models")) {
        showState(part("state"), present);
        actions.update(present);
      }
      if (kinds.has("requests")) underWay.update();
      if (kinds.has("activity")) finished.update();
      const telling = `${present.state} ${present.failure?.at}`;
      if (kinds.has("activity") || telling !== told) details.update(present);
      told = telling;
    };
    show(new Set(["models"]));
  }

  begin();
  const unlisten = listen((kinds) => show(kinds));
  return () => {
    unlisten();
    for (const one of parts) one.close();
  };
}

/** Keep a list of what is known of a model. */
function detailsIn(list, key) {
  let question = 0;

  async function update(model) {
    const asked = ++question;
    const name = encodeURIComponent(key);
    const how = model.peerID ? null : ask(`api/processes/${name}`);
    const questions = [ask("v1/models"), how, ask(`api/metrics/stats?model=${name}`)];
    const [listed, process, stats] = (await Promise.allSettled(questions)).map((answer) => answer.value);
    if (asked !== question) return;
    const entry = listed?.data.find(({ id }) => id === key);
    list.replaceChildren(...facts(model, entry, process, stats).flatMap(fact));
  }

  return { update };
}

function facts(model, entry, process, stats) {
  const { type, aliases, peerID, reachable, ...metadata } = entry?.meta?.llamaswap ?? {};
  const abilities = Object.keys(model.capabilities ?? {}).map((name) => name.replaceAll("_", " "));
  const modality = entry?.architecture?.modality;
  return [
    ["Failed", model.failure?.message, true],
    ["Name", model.name],
    ["Description", model.description],
    ["Aliases", model.aliases.join(", ")],
    ["Peer", model.peerID],
    ["Listed", model.unlisted ? "no" : ""],
    ["Context", model.context_length ? `${count(model.context_length)} tokens` : ""],
    ["Reads and writes", modality?.replace("->", " → ")],
    ["Good for", abilities.join(", ")],
    ["Unloaded when idle for", process ? (process.ttl > 0 ? duration(process.ttl * 1000) : "never") : ""],
    ["Requests", stats ? count(stats.total_requests) : ""],
    ["Tokens read", stats?.total_requests ? count(stats.total_input_tokens) : ""],
    ["Tokens from the cache", stats?.total_cache_tokens ? count(stats.total_cache_tokens) : ""],
    ["Tokens written", stats?.total_requests ? count(stats.total_output_tokens) : ""],
    ["Tokens read per second", middle(stats?.prompt_histogram)],
    ["Tokens written per second", middle(stats?.gen_histogram)],
    ...Object.entries(metadata).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
    ["Address", process?.proxy],
    ["Command", process?.cmd, true],
  ];
}

function middle(histogram) {
  return histogram ? `${speed(histogram.p50)} (median)` : "";
}
