// The log page: joins the connection, the kept lines, the search and the list of rows to the controls.

import { Feed } from "./feed.js";
import { Lines, makeLine, MOST_LINES } from "./lines.js";
import { RowList } from "./list.js";
import { makeRow } from "./row.js";
import { compile, NOTHING } from "./search.js";
import { SourceList, titleOf } from "./sources.js";

const KEPT_SOURCES = 4; // whose lines survive while another one is looked at

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat();

const kept = new Map(); // source -> {lines, lastId}; the latest used last
let source = "";
let lines = new Lines();
let search = NOTHING;
let current = null; // the match that was jumped to
let paused = false;
let held = []; // lines that came during the pause
let lost = 0; // how many of those were not kept
let frame = 0;

const sources = new SourceList($("sources"), choose);
const list = new RowList($("log"), rowOf, showFollow);
const feed = new Feed(take, showSources, showStatus);

// ---- lines ----

function take(from, text) {
  const fresh = text.split("\n").slice(0, -1).map((raw) => makeLine(from, raw));
  if (from && !sources.names.includes(from)) showSources([...sources.names, from]);
  if (paused) hold(fresh);
  else lines.add(fresh);
  showLines();
  return fresh.length;
}

function hold(fresh) {
  held.push(...fresh);
  const surplus = Math.max(0, held.length - MOST_LINES);
  held.splice(0, surplus);
  lost += surplus;
}

function release() {
  if (lost) lines.add([makeLine("", `— ${counted(lost, "line")} of the pause not kept —`)]);
  lines.add(held);
  held = [];
  lost = 0;
}

function rowOf(line, previous) {
  const row = makeRow(line, previous, search, sources.hue(line.source));
  row.classList.toggle("current", line === current);
  return row;
}

// ---- sources ----

function choose(chosen) {
  if (paused) setPaused(false);
  kept.delete(source);
  kept.set(source, { lines, lastId: feed.lastId });
  if (kept.size > KEPT_SOURCES) kept.delete(kept.keys().next().value);
  start(chosen);
}

function start(chosen) {
  const before = kept.get(chosen) ?? { lines: new Lines(), lastId: "" };
  source = chosen;
  lines = before.lines;
  lines.find(search, isPressed("only"));
  current = null;
  history.replaceState(null, "", source ? `#${encodeURIComponent(source)}` : location.pathname + location.search);
  document.title = `${titleOf(source)} · llama-swap logs`;
  document.body.classList.toggle("mixed", source === "" || source === "upstream");
  showSources(sources.names);
  list.follow(true);
  list.refresh();
  showLines();
  feed.open(source || null, before.lastId);
}

function sourceInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function showSources(names) {
  if (sources.show(names, source)) list.refresh();
}

// ---- what is shown around the lines ----

function showLines() {
  list.show(lines.view);
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const matches = search.active ? counted(lines.hits, "matching line") : "";
    $("matches").textContent = search.error ? "not a valid regex" : matches;
    $("count").textContent = counted(lines.all.length, "line");
    const waiting = held.length ? `Resume · ${number.format(held.length + lost)} new` : "Resume";
    $("pause-label").textContent = paused ? waiting : "Pause";
    $("empty").hidden = lines.view.length > 0;
    $("empty").textContent = lines.all.length ? "No line matches the search." : "No lines yet. They appear here as they come.";
  });
}

function counted(count, noun) {
  return `${number.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function showStatus(state, detail) {
  $("status").dataset.state = state;
  $("status-text").textContent = {
    live: "Live",
    connecting: "Connecting…",
    waiting: `Disconnected, trying again (${detail})`,
  }[state];
}

function showFollow() {
  press("follow", list.following);
  $("latest").hidden = list.following;
}

// ---- controls ----

function isPressed(id) {
  return $(id).getAttribute("aria-pressed") === "true";
}

function press(id, on) {
  $(id).setAttribute("aria-pressed", String(on));
}

function toggle(id) {
  press(id, !isPressed(id));
  return isPressed(id);
}

function setPaused(on) {
  paused = on;
  press("pause", on);
  $("pause-icon").setAttribute("href", on ? "#icon-resume" : "#icon-pause");
  if (!on) release();
  showLines();
}

function setSearch() {
  search = compile($("search").value);
  $("search").setAttribute("aria-invalid", String(Boolean(search.error)));
  $("search").title = search.error;
  current = null;
  lines.find(search, isPressed("only"));
  list.refresh();
  showLines();
}

function jump(step) {
  const line = search.active ? lines.nextHit(current?.id ?? list.topId, step) : null;
  if (!line) return;
  current = line;
  list.refresh();
  list.reveal(line);
}

function clear() {
  held = [];
  lost = 0;
  lines.clear();
  list.follow(true);
  showLines();
}

$("search-form").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("input", setSearch);
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") jump(event.shiftKey ? -1 : 1);
  if (event.key !== "Escape") return;
  $("search").value = "";
  setSearch();
  $("log").focus();
});
$("only").addEventListener("click", () => {
  toggle("only");
  setSearch();
});
$("follow").addEventListener("click", () => list.follow(!list.following));
$("latest").addEventListener("click", () => list.follow(true));
$("pause").addEventListener("click", () => setPaused(!paused));
$("wrap").addEventListener("click", () => (list.wrap = toggle("wrap")));
$("clear").addEventListener("click", clear);

const KEYS = {
  "/": () => $("search").focus(),
  f: () => $("follow").click(),
  w: () => $("wrap").click(),
  " ": () => $("pause").click(),
};
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input");
  const pressing = event.key === " " && event.target.closest("button");
  if (typing || pressing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});
addEventListener("hashchange", () => choose(sourceInAddress()));

list.wrap = true;
start(sourceInAddress());
