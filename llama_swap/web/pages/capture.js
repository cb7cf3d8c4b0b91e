// A whole request and its answer, in a dialog.

import { ask } from "./api.js";
import { fill, make } from "./dom.js";
import { bytes } from "./format.js";
import { complain } from "./notice.js";

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
  return [
    make("h3", {}, `${title} fields`),
    list,
    make("h3", {}, `${title} body, ${bytes(content.length)}`),
    make("pre", { tabIndex: 0 }, textOf(content)),
  ];
}

/** Return bytes as people can read them: JSON is indented. */
function textOf(content) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return "This is no text.";
  }
  try {
    text = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Events, for example: they are shown as they came.
  }
  if (text.length <= MOST_SHOWN) return text || "(empty)";
  return `${text.slice(0, MOST_SHOWN)}\n… ${bytes(text.length - MOST_SHOWN)} more`;
}
