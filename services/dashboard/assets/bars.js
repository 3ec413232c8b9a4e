import { blank } from "./seconds.js";

/** Bars of one length on a regular axis, in columns, with the running sums of the flows. */

const SUMS = [["spot", "spot"], ["perp", "perp"], ["spotVolume", "spot_volume"],
  ["perpVolume", "perp_volume"], ["lbuy", "lbuy"], ["lsell", "lsell"]];
const PRICES = ["open", "high", "low", "close"];
const NAMES = [...PRICES, ...SUMS.map(([name]) => name), "cumSpot", "cumPerp"];

export class Bars {
  /** `zero`: UTC second at which both CVDs are 0. */
  constructor(step, first, zero) {
    this.step = step;
    this.first = first;
    this.zero = zero;
    this.length = 0;
    for (const name of NAMES) this[name] = [];
  }

  time(i) { return this.first + i * this.step; }

  index(t) { return Math.floor((t - this.first) / this.step); }

  get end() { return this.time(this.length); }

  row(i) {
    return Object.fromEntries(NAMES.map((name) => [name, this[name][i]]));
  }

  /** Take in `history` (columns of the protocol) from the end on. */
  append(history) {
    history.t.forEach((t, i) => this.set(t, historyRow(history, i)));
    return this;
  }

  /** Set the bar that opens at `t`; bars between it and the end are blank. */
  set(t, row) {
    const at = this.index(t);
    if (at < 0) return;
    while (this.length < at) this.#put(this.length, blank());
    this.#put(at, row);
  }

  #put(i, row) {
    for (const name of PRICES) this[name][i] = row[name] ?? NaN;
    for (const [name] of SUMS) this[name][i] = row[name];
    this.length = Math.max(this.length, i + 1);
    this.#add(i);
  }

  #add(i) {
    const before = i === 0 ? 0 : this.cumSpot[i - 1];
    const perpBefore = i === 0 ? 0 : this.cumPerp[i - 1];
    this.cumSpot[i] = before + this.spot[i];
    this.cumPerp[i] = perpBefore + this.perp[i];
  }

  /** The running sums from bar `i` on, after bars have been replaced. */
  cumulate(from) {
    for (let i = Math.max(0, from); i < this.length; i += 1) this.#add(i);
  }

  /** Shift both CVDs so that they are 0 where the bar of `zero` opens. */
  rebase() {
    this.cumulate(0);
    const at = Math.min(this.length - 1, this.index(this.zero) - 1);
    if (at < 0) return;
    const [spot, perp] = [this.cumSpot[at], this.cumPerp[at]];
    for (let i = 0; i < this.length; i += 1) {
      this.cumSpot[i] -= spot;
      this.cumPerp[i] -= perp;
    }
  }

  /** Put older bars in front. Returns how many. */
  prepend(history) {
    const older = new Bars(this.step, history.t[0], this.zero).append(history);
    const added = Math.round((this.first - older.first) / this.step);
    if (!(added > 0)) return 0;
    while (older.length < added) older.#put(older.length, blank());
    for (const name of NAMES) this[name] = older[name].slice(0, added).concat(this[name]);
    this.first = older.first;
    this.length += added;
    this.rebase();
    return added;
  }

  /** Forget the oldest `count`; the running sums keep their level. */
  drop(count) {
    for (const name of NAMES) this[name].splice(0, count);
    this.first += count * this.step;
    this.length -= count;
  }

  /**
   * Spot minus perpetual flow over the last `minutes` before the end of bar `i`, in scales.
   * NaN where the window reaches beyond the first bar or is shorter than a bar.
   */
  gap(i, minutes, scales) {
    const back = (minutes * 60) / this.step;
    const from = i - Math.round(back);
    if (back < 1 || from < 0) return NaN;
    const spot = (this.cumSpot[i] - this.cumSpot[from]) / scales.spot;
    const perp = (this.cumPerp[i] - this.cumPerp[from]) / scales.perp;
    return (spot - perp) / scales.gap;
  }
}

export function historyRow(history, i) {
  const row = {};
  for (const name of PRICES) row[name] = history[name][i] ?? NaN;
  for (const [name, sent] of SUMS) row[name] = history[sent][i];
  return row;
}
