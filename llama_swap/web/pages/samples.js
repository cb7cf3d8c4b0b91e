// From the proxy's samples of the machine to lines that can be drawn.  Pure.

/** Return [{title, kind, most, series: [{name, points: [[time, value], …]}]}]; `most` is the full height, 0 if open. */
export function summarize(system, gpus) {
  const last = system.at(-1);
  const of = (read) => system.map((sample) => [Date.parse(sample.timestamp), read(sample)]);
  const found = [
    { title: "Processors", kind: "percent", series: [{ name: "", points: of((sample) => mean(sample.cpu_util_per_core)) }] },
    {
      title: "Memory",
      kind: "memory",
      most: last.mem_total_mb,
      series: [{ name: "used", points: of((sample) => sample.mem_used_mb) }],
    },
    {
      title: "Load",
      kind: "load",
      series: [1, 5, 15].map((span) => ({ name: `${span} min`, points: of((sample) => sample[`load_avg_${span}`]) })),
    },
    {
      title: "Network",
      kind: "rate",
      series: [
        { name: "in", points: rates(of((sample) => total(sample, "bytes_recv"))) },
        { name: "out", points: rates(of((sample) => total(sample, "bytes_sent"))) },
      ],
    },
  ];
  if (last.swap_total_mb) {
    const points = of((sample) => sample.swap_used_mb);
    found.push({ title: "Swap", kind: "memory", most: last.swap_total_mb, series: [{ name: "used", points }] });
  }
  return [...found, ...ofGpus(gpus)];
}

function ofGpus(gpus) {
  if (!gpus.length) return [];
  const byId = new Map();
  for (const sample of gpus) byId.set(sample.id, [...(byId.get(sample.id) ?? []), sample]);
  const lines = (field) =>
    [...byId].map(([id, samples]) => ({
      name: `${id}`,
      points: samples.map((sample) => [Date.parse(sample.timestamp), sample[field]]),
    }));
  const most = Math.max(...gpus.map((sample) => sample.mem_total_mb));
  return [
    { title: "GPUs", kind: "percent", series: lines("gpu_util_pct") },
    { title: "Memory of GPUs", kind: "memory", most, series: lines("mem_used_mb") },
    { title: "Temperature of GPUs", kind: "degrees", most: 100, series: lines("temp_c") },
    { title: "Power of GPUs", kind: "watts", series: lines("power_draw_w") },
  ];
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

function total(sample, field) {
  return sample.net_io.filter(({ name }) => name !== "lo").reduce((sum, one) => sum + one[field], 0);
}

/** From a count that grows to how fast it does; a count that begins anew is passed over. */
function rates(points) {
  return points.slice(1).map(([time, value], index) => {
    const [before, had] = points[index];
    return [time, Math.max(0, ((value - had) / Math.max(1, time - before)) * 1000)];
  });
}
