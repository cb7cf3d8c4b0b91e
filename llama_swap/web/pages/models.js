// The list of models: what each does, and making it do something else.

import { actionsOf, shortly, showState, unloadable, unloadAll } from "./actions.js";
import { modelPage } from "./api.js";
import { fill, make, press, Rows, setText } from "./dom.js";
import { count } from "./format.js";
import { connection, listen, models, now, requestsByModel } from "./live.js";
import { showProfiles } from "./profiles.js";

const MOST_ROWS = 300; // more are found by the filter
const kept = { filter: "", onlyLoaded: false }; // what was chosen, for whoever comes back from the page of a model

export function open(place) {
  fill(place, "page-models");
  const part = (id) => place.querySelector(`#${id}`);
  const rows = new Rows(part("models"), (model) => model.key, makeRow);
  let requests = new Map();

  function show() {
    requests = requestsByModel();
    const all = [...models.values()];
    const loaded = all.filter(unloadable).length;
    const wanted = kept.filter.trim().toLowerCase();
    const found = all.filter((model) => (!kept.onlyLoaded || unloadable(model)) && matches(model, wanted));
    rows.show(found.slice(0, MOST_ROWS).map((model) => ({ ...model, requests: requests.get(model.key) ?? 0 })));
    setText(part("loaded"), now.modelsKnown ? `${count(loaded)} of ${count(all.length)} loaded` : "");
    part("unload-all").disabled = !loaded;
    part("none").hidden = found.length > 0;
    const none = now.modelsKnown ? "No models yet." : connection();
    setText(part("none"), all.length ? "No model matches." : none);
    part("more").hidden = found.length <= MOST_ROWS;
    setText(part("more"), `${count(found.length - MOST_ROWS)} more; the filter finds them.`);
  }

  part("filter").value = kept.filter;
  part("filter").addEventListener("input", ({ target }) => {
    kept.filter = target.value;
    show();
  });
  press(part("only-loaded"), kept.onlyLoaded);
  part("only-loaded").addEventListener("click", ({ currentTarget }) => {
    kept.onlyLoaded = !kept.onlyLoaded;
    press(currentTarget, kept.onlyLoaded);
    show();
  });
  part("unload-all").addEventListener("click", unloadAll);
  show();
  const profiles = showProfiles(part("profile-choice"), part("profile"));
  profiles.update();
  return listen((kinds) => {
    if (kinds.has("models") || kinds.has("requests") || kinds.has("connection")) show();
    if (kinds.has("models") || kinds.has("profile")) profiles.update();
  });
}

function matches({ key, name, description, aliases }, wanted) {
  return !wanted || [key, name, description, ...aliases].some((text) => text.toLowerCase().includes(wanted));
}

function makeRow(model) {
  const state = make("span");
  const load = make("td", { className: "number fit", "data-label": "Requests" });
  const actions = actionsOf(model);
  const about = make("td", { className: "long" });
  let told = "";
  const element = make(
    "tr",
    {},
    about,
    make("td", { className: "fit" }, state),
    load,
    make("td", { className: "fit" }, actions.element),
  );
  const update = (now) => {
    const telling = JSON.stringify([now.name, now.description, now.aliases, now.unlisted, now.failure]);
    if (telling !== told) about.replaceChildren(...describe(now));
    told = telling;
    showState(state, now);
    setText(load, now.requests ? count(now.requests) : "");
    actions.update(now);
  };
  return { element, update };
}

function describe({ key, name, description, aliases, unlisted, failure }) {
  const title = make("p", { className: "name" }, make("a", { href: modelPage(key) }, key));
  if (name && name !== key) title.append(make("span", { className: "quiet" }, name));
  if (unlisted) title.append(make("span", { className: "tag", title: "It is not listed in /v1/models" }, "unlisted"));
  for (const alias of aliases) title.append(make("span", { className: "tag", title: "An alias" }, alias));
  const about = description && make("p", { className: "quiet" }, description);
  const why = failure && make("p", { className: "trouble", title: failure.message }, shortly(failure));
  return [title, about, why].filter(Boolean);
}
