import { brief, clock, nowMs } from "./ages.js";
import { byId, keyed, make, mark, say } from "./dom.js";

/** Banners under the headline, the state of the connection, and what is read out. */

const QUIET_MS = 6_000;
let lastSaid = 0;
let pending = 0;

/** `list`: [{id, level: "bad" | "warn", words, more}]. */
export function showNotices(list) {
  keyed(byId("notices"), list, ({ id }) => id, () => {
    const words = make("b");
    const more = make("span");
    return Object.assign(make("p", { className: "notice" }, words, " ", more), { words, more });
  }, (row, { level, words, more }) => {
    mark(row, "bad", level === "bad");
    say(row.words, words);
    say(row.more, more ?? "");
  });
}

/** What is wrong now, worst first. */
export function noticesOf({ open, heardMs, why, problem, trades, trouble, second, symbol, tried }) {
  const list = [];
  if (!open && heardMs !== null) {
    list.push({ id: "link", level: "bad", words: "No connection.",
      more: `${why || "Nothing has come"} since ${clock(heardMs)} UTC; what you see is of then. Trying again.` });
  } else if (!open && (why || tried)) {
    list.push({ id: "link", level: "bad", words: "No connection.",
      more: `${why || "The server does not answer"}. Trying again.` });
  } else if (open && second !== null && second > 15_000) {
    list.push({ id: "bars", level: "bad", words: "No new bars.",
      more: `The last of ${symbol} is of ${clock(nowMs() - second)} UTC. Is aggr-server up?` });
  }
  if (trades?.halted) {
    list.push({ id: "halt", level: "bad", words: "Kill switch on: nothing is entered.",
      more: `${trades.halted_reason || "No reason given"}. Exits go on. Off: python3 scripts/kill_switch.py off` });
  }
  for (const [source, words] of Object.entries(trouble ?? {})) {
    list.push({ id: `trouble ${source}`, level: "warn", words: `${source}:`, more: words });
  }
  if (trades?.problem && !trouble?.freqtrade) {
    list.push({ id: "freqtrade", level: "warn", words: "freqtrade is away:",
      more: `${trades.problem}. Positions are of ${clock(trades.ts_ms)} UTC.` });
  }
  if (problem) list.push({ id: "history", level: "warn", words: "History:", more: problem });
  return list;
}

export function showLink(open, age) {
  const link = byId("link");
  const state = !open ? "lost" : age === null ? "waiting" : age > 5_000 ? "old" : "live";
  link.dataset.state = state;
  say(link.querySelector(".word"), state === "lost" ? "no connection" : state === "old" ? "no bars" : state);
  say(link.querySelector(".age"), open && age !== null ? brief(age) : "");
}

export function showClock(ms) {
  say(byId("clock"), `${clock(ms)} UTC`);
}

/** Read something out, not more often than people can bear. */
export function announce(words) {
  clearTimeout(pending);
  const wait = Math.max(0, lastSaid + QUIET_MS - Date.now());
  pending = setTimeout(() => {
    lastSaid = Date.now();
    say(byId("announcer"), words);
  }, wait);
}
