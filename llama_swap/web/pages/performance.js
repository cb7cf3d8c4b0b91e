// How much of the machine is in use, over the last hour at most.

import { at, refusal, visit } from "./api.js";
import { chart } from "./chart.js";
import { fill, isPressed, press } from "./dom.js";
import { bytes, count, rate, tenth } from "./format.js";
import { summarize } from "./samples.js";

const EVERY = 5_000; // ms
const KEPT = 3_600_000;
const MB = 1024 * 1024;

const FORMATS = {
  percent: { most: 100, format: (value) => `${count(value)} %` },
  memory: { format: (value) => bytes(value * MB) },
  load: { format: tenth },
  rate: { format: rate },
  degrees: { format: (value) => `${count(value)} °C` },
  watts: { format: (value) => `${count(value)} W` },
};

export function open(place) {
  fill(place, "page-performance");
  const part = (id) => place.querySelector(`#${id}`);
  const charts = new Map(); // title -> chart
  const system = [];
  const gpus = [];
  let minutes = 15;
  let latest = "";
  let timer = 0;
  let closed = false;

  async function look() {
    try {
      const response = await visit(at(`api/performance${latest && `?after=${encodeURIComponent(latest)}`}`));
      if (closed) return;
      if (response.status === 503) return say("Nobody watches the hardware: performance.disabled is set.");
      if (!response.ok) throw new Error(await refusal(response));
      const fresh = await response.json();
      if (closed) return;
      keep(fresh);
      show();
    } catch (error) {
      if (closed) return; // and the place is another page's
      say(system.length ? "" : `Nothing can be shown: ${error.message}`);
    }
    if (!closed) timer = setTimeout(look, EVERY);
  }

  function keep({ sys_stats: fresh, gpu_stats: freshGpus }) {
    system.push(...fresh);
    gpus.push(...freshGpus);
    const tooOld = Date.now() - KEPT;
    for (const samples of [system, gpus]) {
      const first = samples.findIndex((sample) => Date.parse(sample.timestamp) > tooOld);
      samples.splice(0, Math.max(0, first));
    }
    latest = system.at(-1)?.timestamp ?? latest;
  }

  function show() {
    say(system.length ? "" : "The first look at the hardware is still to come.");
    if (!system.length) return;
    const to = Date.parse(system.at(-1).timestamp);
    const from = to - minutes * 60_000;
    const since = (samples) => samples.filter(({ timestamp }) => Date.parse(timestamp) >= from);
    for (const { title, kind, most, series } of summarize(since(system), since(gpus))) {
      if (!charts.has(title)) {
        charts.set(title, chart(title, { ...FORMATS[kind], ...(most && { most }) }));
        part("charts").append(charts.get(title).element);
      }
      charts.get(title).update(series, from, to);
    }
  }

  function say(text) {
    part("none").hidden = !text;
    part("none").textContent = text;
  }

  const buttons = [...place.querySelectorAll("#span button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) press(other, other === button);
      minutes = Number(buttons.find(isPressed).value);
      show();
    });
  }
  look();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}
