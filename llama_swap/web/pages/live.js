// What the proxy tells of itself as it happens, kept for all pages: models, requests under way, the active profile.

import { at } from "./api.js";
import { EventStream } from "./sse.js";

const HIDDEN = 5_000; // ms; a browser has few connections for all pages of a site, and one that nobody sees needs none

/** Models by key: what requests call them. */
export const models = new Map();
/** Requests under way, by number; each has `since`, in the time of this machine. */
export const requests = new Map();
/** How the connection is, and why; whether the models are known; which headers tell the session of a request. */
export const now = { connection: "connecting", reason: "", modelsKnown: false, sessionHeaders: [] };
/** The states of the connection, in words. */
export const STATUS = { live: "Connected", connecting: "Connecting…", waiting: "Disconnected" };

const listeners = new Set();
const changed = new Set();
let frame = 0;
let hiding = 0;
let wasLive = false;

/** Have `tell(kinds)` called, at most once a frame, with a Set of what changed: "models", "requests", "profile",
 * "activity", "connection", "settings".  Return what ends it. */
export function listen(tell) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

/** How the connection is, and why, in words. */
export const connection = () => [STATUS[now.connection], now.reason].filter(Boolean).join(": ");

export function isActive(model) {
  return model.state !== "stopped" && model.state !== "unknown";
}

/** How many requests each model has, waiting or answered. */
export function requestsByModel() {
  const counts = new Map();
  for (const { model } of requests.values()) counts.set(model, (counts.get(model) ?? 0) + 1);
  return counts;
}

const stream = new EventStream(() => at("api/events?no-logs"), take, (state, reason) => {
  now.connection = state;
  now.reason = reason;
  note("connection");
  if (state === "live" && wasLive) note("activity"); // what happened in between nobody has told us
  wasLive ||= state === "live";
});

export function start() {
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => stream.close(), HIDDEN);
    else if (!stream.isOpen) stream.open();
  });
  stream.open();
}

const TAKE = {
  modelStatus(told) {
    now.modelsKnown = true;
    models.clear();
    for (const model of told) if (!models.has(model.id)) models.set(model.id, { ...model, key: model.id });
    note("models");
  },
  inflight({ operation, requests: all, request, id }) {
    if (operation === "snapshot") requests.clear();
    for (const one of all ?? (request ? [request] : [])) {
      requests.set(one.id, { ...one, since: requests.get(one.id)?.since ?? Date.now() - one.elapsed_ms });
    }
    if (operation === "remove") requests.delete(id);
    note("requests");
  },
  uiConfig({ activity }) {
    now.sessionHeaders = activity.session_id;
    note("settings");
  },
  profileChanged: () => note("profile"),
  activity: () => note("activity"),
};

function take({ data }) {
  const { type, data: inner } = JSON.parse(data);
  TAKE[type]?.(JSON.parse(inner));
  return 1;
}

/** Have the listeners told of something. */
export function note(kind) {
  changed.add(kind);
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const kinds = new Set(changed);
    changed.clear();
    for (const tell of [...listeners]) tell(kinds);
  });
}
