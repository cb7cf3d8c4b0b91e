// The requests under way, with how to make an end of each.

import { tell } from "./api.js";
import { fill, make, Rows, setText } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { requests } from "./live.js";
import { complain } from "./notice.js";

const MOST_ROWS = 100;
const TICK = 1000; // ms

/** Keep a table in `place`, of one model or (null) of all; return {update, close}. */
export function showUnderWay(place, model) {
  fill(place, "under-way-table");
  const part = (id) => place.querySelector(`#${id}`);
  const rows = new Rows(part("under-way-rows"), ({ id, timestamp }) => `${id} ${timestamp}`, makeRow);

  function update() {
    const found = [...requests.values()].filter((request) => model === null || request.model === model);
    part("under-way-table").hidden = !found.length;
    part("under-way-none").hidden = found.length > 0;
    rows.show(found.slice(0, MOST_ROWS));
    setText(part("under-way-count"), found.length ? count(found.length) : "");
    part("under-way-more").hidden = found.length <= MOST_ROWS;
    setText(part("under-way-more"), `${count(found.length - MOST_ROWS)} more`);
  }

  update();
  const timer = setInterval(update, TICK);
  return { update, close: () => clearInterval(timer) };
}

function makeRow({ id, model, method, req_path, remote_ip }) {
  const since = make("td", { className: "number fit", "data-label": "Since" });
  const received = make("td", { className: "number fit", "data-label": "Received" });
  const cancel = make("button", { type: "button", className: "plain", "aria-label": `Cancel the request ${id}` }, "Cancel");
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    try {
      await tell(`api/inflight/${id}/cancel`);
    } catch (error) {
      complain(error.message);
    }
  });
  const element = make(
    "tr",
    {},
    make("td", { className: "long" }, model),
    make("td", { className: "long quiet" }, `${method} ${req_path}`),
    make("td", { className: "fit quiet" }, remote_ip),
    since,
    received,
    make("td", { className: "fit" }, make("div", { className: "actions" }, cancel)),
  );
  const update = (now) => {
    setText(since, duration(Math.max(0, Date.now() - now.since)));
    setText(received, now.resp_bytes ? bytes(now.resp_bytes) : "–");
  };
  return { element, update };
}
