// What the models were asked, and are being asked.

import { at } from "./api.js";
import { fill, make } from "./dom.js";
import { Finished } from "./finished.js";
import { listen, models } from "./live.js";
import { showUnderWay } from "./under_way.js";

const A_PAGE = 25;

export function open(place) {
  fill(place, "page-activity");
  const choice = place.querySelector("#of-model");
  const chosen = new URL(location.href).searchParams.get("model") ?? "";
  const underWay = showUnderWay(place.querySelector("#under-way"), null);
  const finished = new Finished(place.querySelector("#finished"), chosen, A_PAGE);

  function showChoice() {
    const kept = choice.value || chosen;
    const keys = new Set(models.keys());
    if (kept) keys.add(kept);
    const wanted = ["", ...[...keys].sort()];
    if (wanted.join("\n") === [...choice.options].map((option) => option.value).join("\n")) return;
    choice.replaceChildren(...wanted.map((key) => make("option", { value: key }, key || "all")));
    choice.value = kept;
  }

  choice.addEventListener("change", () => {
    history.replaceState(null, "", at(`ui/activity${choice.value ? `?model=${encodeURIComponent(choice.value)}` : ""}`));
    finished.choose(choice.value);
  });
  showChoice();
  const unlisten = listen((kinds) => {
    if (kinds.has("models")) showChoice();
    if (kinds.has("requests")) underWay.update();
    if (kinds.has("activity")) finished.update();
  });
  return () => {
    unlisten();
    underWay.close();
    finished.close();
  };
}
