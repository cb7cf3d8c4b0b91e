// A whole request and its answer, in a dialog.

import { ask } from "./api.js";
import { fill, make } from "./dom.js";
import { bytes } from "./format.js";
import { complain } from "./notice.js";
import { allSaidIn } from "./said.js";

const MOST_SHOWN = 500_000; // characters of a body
let asking = false;

/** Show what is kept of an entry of the activity, which may be no more than why it failed. */
export async function showCapture({ id, model, req_path: path, error_msg: error, has_capture: isKept }) {
  let capture = null;
  if (asking) return; // and a second click is none
  asking = true;
  try {
    capture = isKept ? await ask(`api/captures/${id}`) : null;
  } catch (refused) {
    complain(refused.message);
    return;
  } finally {
    asking = false;
  }
  const dialog = make("dialog");
  fill(dialog, "capture-view");
  const place = (id) => dialog.querySelector(`#${id}`); // there may be another one of these
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  place("capture-close").addEventListener("click", () => dialog.close());
  place("capture-title").textContent = `${model} · ${path}`;
  dialog.setAttribute("aria-labelledby", "capture-title");
  if (error) place("capture-parts").append(make("p", { className: "wrong" }, error));
  if (capture) {
    place("capture-parts").append(
      ...part("Request", capture.req_headers, capture.req_body),
      ...part("Answer", capture.resp_headers, capture.resp_body),
    );
  }
  dialog.showModal();
}

function part(title, fields, body) {
  const list = make("dl");
  for (const [name, value] of Object.entries(fields)) list.append(make("dt", {}, name), make("dd", {}, value));
  const content = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  const text = textOf(content);
  const isStream = valueOf(fields, "content-type").includes("event-stream");
  const { content: said, reasoning } = isStream && text ? allSaidIn(text) : {};
  const length = content.length || Number(valueOf(fields, "content-length"));
  const none = content.length ? "This is no text." : length ? "It was not kept." : "(empty)";
  return [
    make("h3", {}, `${title} fields`),
    list,
    ...block("Reasoning", reasoning),
    ...block("What was said", said),
    ...block(`${title} body, ${bytes(length)}`, text ? indented(text) : none),
  ];
}

function block(title, text) {
  if (!text) return [];
  const rest = text.length > MOST_SHOWN ? `\n… ${bytes(text.length - MOST_SHOWN)} more` : "";
  return [make("h3", {}, title), make("pre", { tabIndex: 0, role: "group", "aria-label": title }, text.slice(0, MOST_SHOWN) + rest)];
}

function valueOf(fields, wanted) {
  return Object.entries(fields).find(([name]) => name.toLowerCase() === wanted)?.[1] ?? "";
}

/** Return bytes as text; null if they are none. */
function textOf(content) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return null;
  }
}

/** Return JSON as people can read it, and anything else as it is. */
function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
