// Light, dark, or as the system has it.

import { press } from "./dom.js";
import { recall, remember } from "./memory.js";

const groups = new Set();
let chosen = recall("theme") ?? "system";

/** Have the buttons of a group choose the theme; return what ends that. */
export function offer(group) {
  groups.add(group);
  for (const button of buttonsOf(group)) {
    button.addEventListener("click", () => {
      chosen = button.value;
      remember("theme", chosen);
      show();
    });
  }
  show();
  return () => groups.delete(group);
}

function show() {
  document.documentElement.dataset.theme = chosen;
  for (const button of [...groups].flatMap(buttonsOf)) press(button, button.value === chosen);
}

const buttonsOf = (group) => [...group.querySelectorAll("button")];
