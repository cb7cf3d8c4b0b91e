// Numbers and times for people.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const RATES = ["B/s", "kB/s", "MB/s", "GB/s"];
export const NOTHING = "–";

export const count = (value) => whole.format(value);
export const tenth = (value) => tenths.format(value);
export const counted = (value, noun) => `${whole.format(value)} ${noun}${value === 1 ? "" : "s"}`;

/** A number of which −1 says that nobody knows it. */
export const known = (value) => (value >= 0 ? whole.format(value) : NOTHING);
export const speed = (value) => (value >= 0 ? tenths.format(value) : NOTHING);

export function bytes(value) {
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit && value < 100 ? tenths.format(value) : whole.format(value)} ${UNITS[unit]}`;
}

export function rate(value) {
  const unit = Math.min(RATES.length - 1, value < 1000 ? 0 : Math.floor(Math.log10(value) / 3));
  return `${unit ? tenths.format(value / 1000 ** unit) : whole.format(value)} ${RATES[unit]}`;
}

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${tenths.format(ms / 1000)} s`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = String(Math.floor(ms / 1000) % 60).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${seconds} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The time of day; with the date if that is not today. */
export function moment(timestamp) {
  const then = new Date(timestamp);
  const today = then.toDateString() === new Date().toDateString();
  return today ? then.toLocaleTimeString() : then.toLocaleString();
}
