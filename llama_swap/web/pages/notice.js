// What went wrong, said at the foot of the page until it has been read.

import { $ } from "./dom.js";

export function complain(text) {
  $("notice-text").textContent = text;
  $("notice").hidden = false;
}

export function hush() {
  $("notice").hidden = true;
}
