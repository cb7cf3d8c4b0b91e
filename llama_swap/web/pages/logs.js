// The page of all logs: the lines, and beside them the sources to choose from.

import { ask } from "./api.js";
import { fill } from "./dom.js";
import { LogView } from "./log_view.js";
import { SourceList, titleOf } from "./sources.js";

export function open(place) {
  fill(place, "page-logs");
  const closed = new AbortController();
  const sources = new SourceList(place.querySelector("#sources"), choose);
  const view = new LogView(place.querySelector("#lines"), {
    onSources: show,
    onSource: (name) => sources.names.includes(name) || show([...sources.names, name]),
    hue: (name) => sources.hue(name),
    keys: document,
  });
  let chosen = "";

  function show(names) {
    if (sources.show(names, chosen)) view.refresh();
  }

  function choose(name) {
    chosen = name;
    const address = location.pathname + location.search;
    history.replaceState(null, "", name ? `#${encodeURIComponent(name)}` : address);
    document.title = `${titleOf(name)} · llama-swap logs`;
    show(sources.names);
    view.open(name);
  }

  addEventListener("hashchange", () => choose(inAddress()), { signal: closed.signal });
  choose(inAddress());
  ask("logs/sources").then(show, () => {}); // the stream may be too busy with lines to tell them soon
  return () => {
    closed.abort();
    view.close();
  };
}

function inAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}
