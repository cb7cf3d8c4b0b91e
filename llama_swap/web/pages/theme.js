// Light, dark, or as the system has it.

import { press } from "./dom.js";
import { recall, remember } from "./memory.js";

/** Have the buttons of a group choose the theme, and remember the choice. */
export function start(group) {
  const buttons = [...group.querySelectorAll("button")];
  const choose = (theme) => {
    document.documentElement.dataset.theme = theme;
    for (const button of buttons) press(button, button.value === theme);
  };
  choose(recall("theme") ?? "system");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      choose(button.value);
      remember("theme", button.value);
    });
  }
}
