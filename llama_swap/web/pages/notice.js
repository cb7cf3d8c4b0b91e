// What went wrong, said at the foot of the page until it has been read.

import { $ } from "./dom.js";

const SHOWN = 12_000; // ms
let timer = 0;

export function complain(text) {
  $("notice-text").textContent = text;
  $("notice").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(hush, SHOWN);
}

export function hush() {
  $("notice").hidden = true;
}
