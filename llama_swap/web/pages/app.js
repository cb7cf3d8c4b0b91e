// The frame around the pages: which one the address means, and what is the same on all of them.

import { ROOT } from "./api.js";
import { $, setText } from "./dom.js";
import { listen, now, start, STATUS } from "./live.js";
import { hush } from "./notice.js";
import * as theme from "./theme.js";

const PAGES = {
  models: ["Models", () => import("./models.js")],
  activity: ["Activity", () => import("./activity.js")],
  logs: ["Logs", () => import("./logs.js")],
  playground: ["Playground", () => import("./playground.js")],
  performance: ["Performance", () => import("./performance.js")],
  hardware: ["Hardware", () => import("./hardware.js")],
  settings: ["Settings", () => import("./settings.js")],
};

let shown = "";
let close = () => {};

/** Return the page that an address means: [name, the rest of the path], and what brings it. */
function meant({ pathname }) {
  const [first, second, ...rest] = pathname.slice(ROOT.pathname.length).split("/");
  const name = first === "ui" ? second || "models" : first;
  const detail = rest.map(decoded).join("/");
  if (name === "models" && detail) return { name, detail, page: [detail, () => import("./model.js")] };
  return { name, detail, page: PAGES[name] ?? ["No such page", () => import("./missing.js")] };
}

async function show() {
  const address = location.pathname + location.search;
  if (address === shown) return; // another part of the same page
  shown = address;
  const { name, detail, page } = meant(location);
  const [title, load] = page;
  for (const link of document.querySelectorAll("#pages a")) {
    if (link.dataset.page === name) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" }); // of a narrow window, in which not all have room
    } else link.removeAttribute("aria-current");
  }
  const module = await load();
  if (shown !== address) return;
  close();
  document.title = `${title} · llama-swap`;
  document.body.dataset.page = detail ? "model" : name;
  close = module.open($("page"), detail) ?? (() => {});
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
  $("page").focus({ preventScroll: true });
  scrollTo(0, 0);
  show();
});
addEventListener("popstate", show);
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
