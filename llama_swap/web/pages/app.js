// The frame around the pages: which one the address means, and what is the same on all of them.

import * as activity from "./activity.js";
import { ROOT } from "./api.js";
import { $, setText } from "./dom.js";
import * as hardware from "./hardware.js";
import { listen, now, start, STATUS } from "./live.js";
import * as logs from "./logs.js";
import * as missing from "./missing.js";
import * as model from "./model.js";
import * as models from "./models.js";
import { hush } from "./notice.js";
import * as performance from "./performance.js";
import * as playground from "./playground.js";
import * as settings from "./settings.js";
import * as theme from "./theme.js";

const PAGES = {
  models: ["Models", models],
  activity: ["Activity", activity],
  logs: ["Logs", logs],
  playground: ["Playground", playground],
  performance: ["Performance", performance],
  hardware: ["Hardware", hardware],
  settings: ["Settings", settings],
};

let shown = "";
let close = () => {};

/** Return the page that an address means: its name, which model it is of, its title, and what opens it. */
function meant({ pathname, search }) {
  const [first, second, ...rest] = pathname.slice(ROOT.pathname.length).split("/");
  const name = first === "ui" ? second || "models" : first;
  const key = new URLSearchParams(search).get("id") || rest.map(decoded).join("/"); // the path is the original's way
  if (name === "models" && key) return { name, key, page: [key, model] };
  return { name, key: "", page: PAGES[name] ?? ["No such page", missing] };
}

function show() {
  const address = location.pathname + location.search;
  if (address === shown) return; // another part of the same page
  shown = address;
  const { name, key, page } = meant(location);
  const [title, module] = page;
  for (const link of document.querySelectorAll("#pages a")) {
    if (link.dataset.page === name) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" }); // of a narrow window, in which not all have room
    } else link.removeAttribute("aria-current");
  }
  close();
  document.title = `${title} · llama-swap`;
  document.body.dataset.page = key ? "model" : name;
  close = module.open($("page"), key) ?? (() => {});
  $("page").focus({ preventScroll: true }); // so that keys scroll it
  $("page").scrollTop = history.state?.top ?? 0;
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function isPage(url) {
  const path = url.pathname.slice(ROOT.pathname.length);
  return url.origin === ROOT.origin && url.pathname.startsWith(ROOT.pathname) && /^(ui(\/|$)|logs$)/.test(path);
}

// The addresses in index.html are relative to where it was loaded, and must not be to where one goes from there.
for (const element of document.querySelectorAll("a[href], link[href]")) element.href = new URL(element.href).href;

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  if (link.target || !isPage(new URL(link.href))) return;
  event.preventDefault();
  if (link.href === location.href) return;
  history.pushState(null, "", link.href);
  shown = ""; // a link opens its page anew, whatever was chosen there
  show();
});
addEventListener("popstate", show);
$("page").addEventListener("scrollend", (event) => {
  if (event.target === $("page")) history.replaceState({ top: $("page").scrollTop }, "");
});
$("notice-close").addEventListener("click", hush);
theme.offer($("theme"));

listen((kinds) => {
  if (!kinds.has("connection")) return;
  $("connection").dataset.state = now.connection;
  $("connection").title = now.reason;
  setText($("connection-text"), STATUS[now.connection]);
});
start();
show();
