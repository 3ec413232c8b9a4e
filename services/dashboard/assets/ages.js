import { make, mark, say } from "./dom.js";

/** The clock of the server, and how old each block of what it sent is. */

/** After how many ms a block counts as old; others change only when something happens. */
const LIMITS_MS = { second: 5_000, board: 5_000, strategy: 5_000, services: 10_000,
  venues: 30_000, trades: 30_000, open_interest: 120_000 };
const SAME_CLOCK_MS = 1_500;

let offset = 0;
const measured = new Map();

/** Learn from the first message how far the server's clock is from the browser's. */
export function synchronize(serverMs) {
  const apart = Date.now() - serverMs;
  offset = Math.abs(apart) < SAME_CLOCK_MS ? 0 : apart;
}

/** The server's time now, ms. */
export const nowMs = () => Date.now() - offset;

export function note(block, tsMs) {
  measured.set(block, tsMs);
}

export function forget(blocks) {
  blocks.forEach((block) => measured.delete(block));
}

/** Age of a block in ms, null if it never came. */
export function ageMs(block) {
  const ts = measured.get(block);
  return ts === undefined ? null : Math.max(0, nowMs() - ts);
}

export function stale(block) {
  const age = ageMs(block);
  return age !== null && age > (LIMITS_MS[block] ?? Infinity);
}

/** A length of time in as few letters as it takes. */
export function brief(ms) {
  if (ms === null || ms === undefined) return "\u2013";
  const s = ms / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5_400) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3_600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

/** hh:mm:ss of a UTC time in ms. */
export function clock(ms) {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(11, 19) : "\u2013";
}

/** Write the age beside each heading and dim the panels that are old. */
export function showAges() {
  for (const element of document.querySelectorAll(".age[data-block]")) {
    const block = element.dataset.block;
    const age = ageMs(block);
    const old = stale(block);
    say(element, age === null ? "" : old ? `old: ${brief(age)}` : brief(age));
    mark(element, "old", old);
    const panel = element.closest(".panel");
    if (panel) mark(panel, "stale", old);
  }
}

/** An element that counts the age of a time in UTC ms, brought up to date by `tickAges`. */
export function since(tsMs, limitMs = Infinity) {
  return make("span", { className: "since", data: { ts: String(tsMs), limit: String(limitMs) } });
}

export function setSince(element, tsMs) {
  element.dataset.ts = String(tsMs ?? "");
  tick(element);
}

function tick(element) {
  const ts = element.dataset.ts;
  const age = ts === "" || ts === "null" ? null : Math.max(0, nowMs() - Number(ts));
  say(element, brief(age));
  mark(element, "old", age !== null && age > Number(element.dataset.limit));
}

export function tickAges() {
  document.querySelectorAll(".since").forEach(tick);
}
