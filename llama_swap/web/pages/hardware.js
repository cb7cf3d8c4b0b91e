// What the machine is made of.

import { ask } from "./api.js";
import { fact, fill, make } from "./dom.js";
import { bytes, count } from "./format.js";
import { listen, now } from "./live.js";

export function open(place) {
  fill(place, "page-hardware");
  show(place);
  return listen((kinds) => kinds.has("connection") && now.connection === "live" && show(place));
}

async function show(place) {
  const none = place.querySelector("#none");
  try {
    const parts = partsOf(await ask("api/hardware"), await ask("api/version"));
    none.hidden = true;
    place.querySelector("#parts")?.replaceChildren(...parts.map(section));
  } catch (error) {
    none.hidden = false;
    none.textContent = `Nothing can be shown: ${error.message}`;
  }
}

function section([title, facts]) {
  return make("section", {}, make("h2", {}, title), make("dl", { className: "details" }, ...facts.flatMap(fact)));
}

function partsOf(found, { version }) {
  const { operating_system: system, environment, cpu, memory, accelerators, architecture } = found;
  return [
    ["Processor", [
      ["Model", cpu.model],
      ["Architecture", architecture.raw_name ?? architecture.name],
      ["Sockets", cpu.socket_count],
      ["Cores", cpu.physical_core_count],
      ["Threads", cpu.logical_thread_count],
    ]],
    ["Memory", [["Capacity", bytes(memory.capacity_bytes)]]],
    ...accelerators.map((one) => [`${one.kind.toUpperCase()} ${one.index}`, [
      ["Model", one.model],
      ["Vendor", one.vendor],
      ["Memory", one.memory.capacity_bytes && bytes(one.memory.capacity_bytes)],
      ["Driver", [one.driver?.name, one.driver?.version].filter(Boolean).join(" ")],
      ["Power limit", one.power_limit_watts && `${count(one.power_limit_watts)} W`],
    ]]),
    ...(accelerators.length ? [] : [["GPUs", [["Found", "none"]]]]),
    ["System", [
      ["Operating system", [system.name, system.version].filter(Boolean).join(" ")],
      ["Kernel", system.kernel],
      ["Environment", environment.kind.replaceAll("_", " ")],
      ["llama-swap", version],
    ]],
  ];
}
