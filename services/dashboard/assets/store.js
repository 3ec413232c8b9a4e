import { nowMs } from "./ages.js";
import { Bars, historyRow } from "./bars.js";
import { fetchHistory } from "./connection.js";
import { Seconds, blank } from "./seconds.js";

/** Everything the chart draws of the watched symbol: a bounded past, and the seconds live. */

const VIEW_S = 14_400;
const MAX_BARS = 12_000;
const MAX_MARKS = 500;
const SLACK_BARS = 300;
const REFILL_MS = 1_200;
const SETTLED_S = 120;
const MAX_HOLE_S = 900;
/** How much is fetched at once, by length of a bar, s. */
const CHUNK_S = { 1: 3_600, 5: 14_400, 15: 14_400, 60: 86_400, 300: 259_200, 900: 604_800, 1800: 1_209_600,
  3600: 1_209_600, 14400: 2_592_000 };

export const chunkOf = (step) => CHUNK_S[step] ?? step * 1_440;
export const aligned = (t, step) => Math.floor(t / step) * step;

/**
 * `changed(from)`: bars from index `from` on have changed; 0: all of them. `seen()`: how many bars
 * before the end are in view, Infinity while the view is somewhere else.
 */
export class Store {
  constructor({ changed, problem, seen }) {
    this.seconds = new Seconds();
    this.bars = null;
    this.symbol = "";
    this.step = 60;
    this.completeFrom = null;
    this.interest = new Map();
    this.markers = { signals: new Map(), trades: new Map() };
    this.loading = false;
    this.loadingOlder = false;
    this.exhausted = false;
    /** Whether a second that came live is among the bars. */
    this.live = false;
    this.#changed = changed;
    this.#problem = problem;
    this.#seen = seen;
  }

  #changed;
  #problem;
  #seen;
  #open = null;
  #cancel = null;
  #refill = 0;
  #since = 0;
  #early = [];

  /** Load `step` bars of `symbol`, at least back to `from` (UTC s). False: it did not come. */
  async load(symbol, step, from = null) {
    this.#cancel?.abort();
    const cancel = this.#cancel = new AbortController();
    if (symbol !== this.symbol) {
      this.seconds.clear();
      this.#early = [];
      this.interest = new Map();
      this.markers = { signals: new Map(), trades: new Map() };
    }
    this.symbol = symbol;
    this.step = step;
    this.loading = true;
    this.exhausted = false;
    try {
      await this.#fetch(symbol, step, from, cancel.signal);
    } catch (error) {
      if (cancel.signal.aborted) return false;
      this.loading = false;
      this.#problem(error.message);
      return false;
    }
    if (cancel.signal.aborted) return false;
    this.loading = false;
    this.#problem("");
    this.#changed(0);
    return true;
  }

  /** Closed bars, the minutes of the open one, and its seconds: sums of whole seconds only. */
  async #fetch(symbol, step, from, signal) {
    const now = Math.floor(nowMs() / 1000) + 1;
    const edge = step === 1 ? now : aligned(now, step);
    const start = aligned(Math.min(edge - chunkOf(step), from ?? Infinity), step);
    const coarse = step > 300;
    const minute = aligned(now, 60);
    const finer = step === 1 ? null : coarse ? minute - 60 : edge - (step <= 60 ? step : 0);
    const [closed, minutes, seconds] = await Promise.all([
      fetchHistory(symbol, step, start, edge, signal),
      coarse && minute > edge ? fetchHistory(symbol, 60, edge, minute, signal) : null,
      finer === null ? null : fetchHistory(symbol, 1, finer, now, signal),
    ]);
    if (signal.aborted) return;
    const bars = new Bars(step, closed.t[0] ?? edge, edge - VIEW_S).append(closed);
    for (const part of [step === 1 ? closed : null, seconds]) this.#keep(part);
    this.#open = coarse ? { t: edge, until: minute, row: summed(minutes) } : null;
    this.#since = Math.max(this.#open?.until ?? 0, finer ?? bars.first);
    this.bars = bars;
    this.completeFrom = closed.complete_from;
    this.#takeExtras(closed, true);
    for (const part of [minutes, seconds]) if (part) this.#takeExtras(part, false);
    const early = this.#early;
    this.#early = [];
    this.live ||= early.length > 0;
    early.forEach((message) => this.seconds.put(message.t, messageRow(message), true));
    this.#fold(Math.max(bars.first, finer ?? edge));
    bars.rebase();
    this.#watchHole();
  }

  #keep(history) {
    if (!history) return;
    history.t.forEach((t, i) => this.seconds.put(t, historyRow(history, i), false));
  }

  #takeExtras(history, fresh) {
    if (fresh) this.interest = new Map();
    history.oi_t.forEach((t, i) => this.interest.set(t, history.oi_coins[i]));
    for (const kind of ["signals", "trades"]) this.mark(kind, history.markers?.[kind] ?? []);
  }

  /** Signals or trades to mark, by id. */
  mark(kind, rows) {
    const id = kind === "signals" ? "signal_id" : "trade_id";
    const marked = this.markers[kind];
    for (const row of rows) if (row.symbol === this.symbol) marked.set(row[id], row);
    for (const key of marked.keys()) {
      if (marked.size <= MAX_MARKS) break;
      marked.delete(key);
    }
  }

  /** A second has come; a later one with the same `t` replaces it. */
  add(message) {
    if (message.symbol !== this.symbol) return;
    if (this.loading || !this.bars) {
      this.#early.push(message);
      if (this.#early.length > 600) this.#early.shift();
      return;
    }
    this.live = true;
    this.seconds.put(message.t, messageRow(message), true);
    const from = this.#fold(message.t);
    if (from !== null) this.#changed(from);
    this.#trim();
    this.#watchHole();
  }

  /** Build the bars anew from the one that holds second `t` on. Returns the first one's index. */
  #fold(t) {
    const { bars, seconds, step } = this;
    const newest = seconds.newest;
    if (newest === null) return null;
    const start = Math.max(bars.first, aligned(t, step));
    for (let at = start; at <= newest; at += step) {
      const open = this.#open?.t === at ? this.#open : null;
      const from = open ? open.until : at;
      const closed = at + step <= newest + 1;
      // A closed bar of the past is worth more than some of its seconds.
      if (!open && closed && at < bars.end && seconds.missing(at, at + step) !== null) continue;
      bars.set(at, seconds.sum(from, Math.min(at + step, newest + 1),
        open ? { ...open.row } : blank()));
    }
    const i = bars.index(start);
    bars.cumulate(i);
    return i;
  }

  /** Seconds that the websocket passed over while it was away are in the past by now. */
  #watchHole() {
    const { newest } = this.seconds;
    if (newest === null || this.#refill) return;
    const hole = this.seconds.missing(Math.max(newest - SETTLED_S, this.#since), newest);
    if (hole === null) return;
    this.#refill = setTimeout(() => this.#fill(hole), REFILL_MS);
  }

  async #fill(from) {
    const { symbol } = this;
    try {
      const history = await fetchHistory(symbol, 1, from, Math.floor(nowMs() / 1000) + 1);
      if (symbol !== this.symbol || !this.bars || this.loading) return true;
      this.#keep(history);
      const at = this.#fold(from);
      if (at !== null) this.#changed(at);
      return true;
    } catch {
      return false;
    } finally {
      // A second that nobody has is not asked for again at once.
      setTimeout(() => { this.#refill = 0; }, 5 * REFILL_MS);
    }
  }

  /** After a break: the missing seconds, or everything if there are many. */
  async resume() {
    const { newest } = this.seconds;
    if (!this.bars || newest === null) return;
    const now = Math.floor(nowMs() / 1000);
    const filled = now - newest <= MAX_HOLE_S && await this.#fill(aligned(newest, this.step));
    if (!filled) await this.load(this.symbol, this.step);
  }

  /** Older bars, as the view has come near the first. */
  async older() {
    const { bars, symbol, step } = this;
    if (!bars || this.loading || this.loadingOlder || this.exhausted) return;
    if (bars.length >= MAX_BARS) return;
    this.loadingOlder = true;
    try {
      const to = bars.first;
      const history = await fetchHistory(symbol, step, to - chunkOf(step), to);
      if (bars !== this.bars) return;
      if (!history.close.some((price) => price !== null)) {
        this.exhausted = true;
        return;
      }
      this.completeFrom = history.complete_from;
      this.#takeExtras(history, false);
      if (bars.prepend(history)) this.#changed(0);
    } catch (error) {
      this.#problem(error.message);
    } finally {
      this.loadingOlder = false;
    }
  }

  /** Open interest of now. */
  addInterest(t, coins) {
    if (coins !== null) this.interest.set(t, coins);
    if (!this.bars || this.interest.size < MAX_BARS) return;
    for (const at of this.interest.keys()) if (at < this.bars.first) this.interest.delete(at);
  }

  #trim() {
    const kept = Math.min(MAX_BARS, Math.max(chunkOf(this.step) / this.step, this.#seen() * 1.2));
    if (this.bars.length <= kept + SLACK_BARS) return;
    this.bars.drop(this.bars.length - Math.ceil(kept));
    this.exhausted = false;
    this.#changed(0);
  }
}

function messageRow({ bar, spot, perp, spot_volume: spotVolume, perp_volume: perpVolume, lbuy, lsell }) {
  const [open, high, low, close] = bar ?? [NaN, NaN, NaN, NaN];
  return { open, high, low, close, spot, perp, spotVolume, perpVolume, lbuy, lsell };
}

/** All rows of `history` as one. */
function summed(history) {
  const row = blank();
  history?.t.forEach((_, i) => {
    const each = historyRow(history, i);
    if (!Number.isNaN(each.close)) {
      if (Number.isNaN(row.open)) Object.assign(row, { open: each.open, high: each.high, low: each.low });
      row.high = Math.max(row.high, each.high);
      row.low = Math.min(row.low, each.low);
      row.close = each.close;
    }
    for (const name of ["spot", "perp", "spotVolume", "perpVolume", "lbuy", "lsell"]) {
      row[name] += each[name];
    }
  });
  return row;
}
