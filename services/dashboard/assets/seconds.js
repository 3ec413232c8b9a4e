/** The last seconds of the watched symbol, in a ring of fixed size. */

export const RING_S = 15_000;
const COLUMNS = ["open", "high", "low", "close", "spot", "perp", "spotVolume", "perpVolume",
  "lbuy", "lsell"];

export class Seconds {
  #t = new Float64Array(RING_S).fill(-1);
  #live = new Uint8Array(RING_S);
  #columns = Object.fromEntries(COLUMNS.map((name) => [name, new Float64Array(RING_S)]));
  newest = null;

  clear() {
    this.#t.fill(-1);
    this.#live.fill(0);
    this.newest = null;
  }

  /** Put or replace a second; one that came live is not overwritten by one of the past. */
  put(t, row, live) {
    if (this.newest !== null && t <= this.newest - RING_S) return false;
    const i = t % RING_S;
    if (!live && this.#t[i] === t && this.#live[i]) return false;
    this.#t[i] = t;
    this.#live[i] = live ? 1 : 0;
    for (const name of COLUMNS) this.#columns[name][i] = row[name] ?? NaN;
    if (this.newest === null || t > this.newest) this.newest = t;
    return true;
  }

  has(t) {
    return this.#t[t % RING_S] === t;
  }

  /** First missing second of [from, to), null if all are there. */
  missing(from, to) {
    for (let t = from; t < to; t += 1) if (!this.has(t)) return t;
    return null;
  }

  /** Add the seconds of [from, to) to `row`; a row without a price has `open` NaN. */
  sum(from, to, row) {
    const c = this.#columns;
    for (let t = from; t < to; t += 1) {
      const i = t % RING_S;
      if (this.#t[i] !== t) continue;
      if (!Number.isNaN(c.close[i])) {
        if (Number.isNaN(row.open)) {
          row.open = c.open[i];
          row.high = c.high[i];
          row.low = c.low[i];
        }
        row.high = Math.max(row.high, c.high[i]);
        row.low = Math.min(row.low, c.low[i]);
        row.close = c.close[i];
      }
      row.spot += c.spot[i];
      row.perp += c.perp[i];
      row.spotVolume += c.spotVolume[i];
      row.perpVolume += c.perpVolume[i];
      row.lbuy += c.lbuy[i];
      row.lsell += c.lsell[i];
    }
    return row;
  }
}

export const blank = () => ({ open: NaN, high: NaN, low: NaN, close: NaN, spot: 0, perp: 0,
  spotVolume: 0, perpVolume: 0, lbuy: 0, lsell: 0 });
