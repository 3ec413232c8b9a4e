import { nowMs } from "./ages.js";
import { Chart } from "./chart.js";
import { byId, choices, say } from "./dom.js";
import { levels, overlays } from "./overlays.js";
import { Store, chunkOf } from "./store.js";

/** The chart with its controls: which bars are loaded, what is seen of them, and when it is drawn. */

const VIEW_S = 14_400;
const NAMES = { 1: "1s", 5: "5s", 15: "15s", 60: "1m", 300: "5m", 900: "15m", 1800: "30m",
  3600: "1h", 14400: "4h", 86400: "1d" };
const FIRST_STEP = 60;
const NEAR_BARS = 15;
/** How much wider than what is loaded the view may be before bars get longer. */
const SPARE = 1.15;
const TEXT_EVERY_MS = 5_000;

export class Picture {
  constructor({ problem }) {
    this.store = new Store({ changed: (from) => this.#changed(from), problem,
      seen: () => this.#seenBars() });
    this.chart = new Chart(byId("chart"), { range: () => this.#ranged(), drawn: () => this.#drawn() });
    this.extra = { view: null, trades: null, gaps: [] };
    this.step = FIRST_STEP;
    this.steps = [];
    this.window = null;
    byId("four-hours").addEventListener("click", () => this.fourHours());
    byId("to-now").addEventListener("click", () => this.chart.toNow());
  }

  #from = Infinity;
  #frame = 0;
  #wanted = null;
  #finest = FIRST_STEP;
  #marks = { chart: false, live: false };
  #said = 0;
  #moving = false;

  start(steps) {
    if (this.steps.length) return;
    this.steps = steps;
    if (!steps.includes(this.step)) this.step = this.#finest = steps[0];
    this.press = choices(byId("steps"), steps.map((step) => ({ value: step,
      name: NAMES[step] ?? format.show(step, "duration"), title: `Bars of ${format.show(step, "duration")}` })),
    (step) => this.choose(step));
    this.press(this.step);
  }

  watch(symbol) {
    this.symbol = symbol;
    this.extra = { ...this.extra, view: null, gaps: [] };
    this.#overlay();
    this.#load(null);
  }

  /** Bars of another length, chosen by a person: as many as look well, up to now. */
  choose(step) {
    this.#finest = step;
    this.step = step;
    this.#load(null);
  }

  by(places) {
    const at = this.steps.indexOf(this.step) + places;
    if (this.steps[at]) this.choose(this.steps[at]);
  }

  fourHours() {
    const step = this.#finest <= 900 ? this.#finest : FIRST_STEP;
    if (step === this.step && this.chart.bars && !this.store.loading) {
      this.chart.showLast(VIEW_S);
      return;
    }
    this.step = this.#finest = step;
    this.#load(null, VIEW_S);
  }

  /** Bring second `t` into view. */
  focus(t) {
    const half = (this.chart.bestCount() * this.step) / 2;
    this.#load([t - half, t + half]);
  }

  again() {
    if (this.store.symbol) this.#load(this.#following() ? null : this.chart.seen());
  }

  resume() {
    if (this.store.bars) this.store.resume();
  }

  second(message) { this.store.add(message); }

  strategy(view) {
    this.extra.view = view;
    this.#windows(view);
    this.#overlay();
  }

  interest({ ts_ms: ts, coins }) {
    this.store.addInterest(Math.floor(ts / 1000), coins);
  }

  marks(kind, rows) {
    this.store.mark(kind, rows);
    this.#said = 0;
    this.#overlay();
  }

  trades(message) {
    this.extra.trades = message;
    this.marks("trades", [...message.closed, ...message.open]);
  }

  gaps(rows) {
    this.extra.gaps = rows;
    this.#overlay();
  }

  /** Load the current step of the symbol and show `seen` (UTC s), null: the `last` seconds. */
  async #load(seen, last = null) {
    this.press?.(this.step);
    this.#wanted = { seen, last };
    byId("chart").classList.add("loading");
    const from = seen ? Math.floor(seen[0]) : null;
    if (await this.store.load(this.symbol, this.step, from)) {
      this.marks("trades", [...this.extra.trades?.closed ?? [], ...this.extra.trades?.open ?? []]);
    }
    byId("chart").classList.remove("loading");
    byId("chart-empty").hidden = !this.store.bars || this.store.bars.length > 0;
  }

  #changed(from) {
    this.#from = Math.min(this.#from, from);
    this.#overlay();
  }

  /** Everything that has come since the last frame is drawn at once. */
  #overlay() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const from = this.#from;
    this.#from = Infinity;
    const { bars } = this.store;
    if (!bars?.length) return;
    if (Number.isFinite(from)) this.#drawBars(bars, from);
    this.#divergence();
    const { view, gaps, trades } = this.extra;
    this.chart.put(overlays({ markers: this.store.markers, view, gaps, now: bars.end }));
    this.chart.levels(levels({ symbol: this.symbol, trades, view }));
    this.#describe();
  }

  #drawBars(bars, from) {
    byId("chart-empty").hidden = true;
    byId("chart").classList.add("drawn");
    this.#divergence();
    this.chart.draw(bars, this.store.interest, from);
    if (this.store.live && !this.#marks.live) {
      this.#marks.live = true;
      performance.mark("live");
    }
  }

  /** All bars have been drawn anew: put the view where it belongs. */
  #drawn() {
    const { chart } = this;
    if (this.#wanted) {
      const { seen, last } = this.#wanted;
      this.#wanted = null;
      this.#moving = true;
      if (seen) chart.show(...seen);
      else chart.showLast(last ?? this.#usual());
      this.#moving = false;
      say(byId("chart-text"), "");
      this.#said = 0;
    }
    if (this.#marks.chart) return;
    this.#marks.chart = true;
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("chart")));
  }

  /** As many seconds as look well. */
  #usual() {
    const best = this.chart.bestCount() * this.step;
    return this.step === FIRST_STEP ? Math.min(best, VIEW_S) : best;
  }

  #following() {
    const seen = this.chart.seen();
    return !seen || seen[1] >= this.store.bars.end - this.step;
  }

  #seenBars() {
    const seen = this.chart.seen();
    return seen && this.#following() ? (this.store.bars.end - seen[0]) / this.step : Infinity;
  }

  /** The view has moved: tell what is seen, load what is older, change the length of bars. */
  #ranged() {
    const seen = this.chart.seen();
    const { bars } = this.store;
    if (!seen || !bars || this.#wanted) return;
    const [from, to] = [Math.max(seen[0], bars.first), Math.min(seen[1], bars.end)];
    if (to > from) say(byId("seen"), format.range(Math.round(from), Math.round(to)));
    byId("to-now").hidden = this.#following();
    if (this.#moving || this.store.loading) return;
    const span = seen[1] - seen[0];
    const at = this.steps.indexOf(this.step);
    if (span > chunkOf(this.step) * SPARE && this.steps[at + 1]) this.#resize(this.steps[at + 1], seen);
    else if (this.step > this.#finest && span < chunkOf(this.steps[at - 1]) * 0.7) {
      this.#resize(this.steps[at - 1], seen);
    } else if (seen[0] < bars.first + NEAR_BARS * this.step) this.store.older();
  }

  #resize(step, seen) {
    this.step = step;
    this.#load(seen);
  }

  /** The windows the strategy measures, and the one that is drawn. */
  #windows(view) {
    const minutes = (view?.windows ?? []).map((window) => window.minutes);
    if (minutes.length && String(minutes) !== this.offered) {
      this.offered = String(minutes);
      this.window = minutes.includes(this.window) ? this.window : Math.max(...minutes);
      this.pressWindow = choices(byId("windows"), [...minutes].sort((a, b) => a - b).map((value) => ({
        value, name: `${value} min gap`, title: `Divergence over ${value} minutes (d)` })),
      (value) => this.#chooseWindow(value));
      this.pressWindow(this.window);
    }
  }

  #chooseWindow(value) {
    this.window = value;
    this.pressWindow(value);
    this.#overlay();
  }

  #divergence() {
    const { view } = this.extra;
    const window = view?.windows.find(({ minutes }) => minutes === this.window);
    const scales = window?.scale_spot && window.scale_perp && window.scale_gap
      ? { spot: window.scale_spot, perp: window.scale_perp, gap: window.scale_gap } : null;
    const needed = view?.gap_needed ?? null;
    const { legends } = this.chart;
    legends.title("gap", this.window ? `Divergence ${this.window} min` : "Divergence");
    legends.note("gap", !this.window ? "the strategy has told no window yet" : !scales
      ? "its scales are not known yet" : this.window * 60 < this.step
        ? "the window is shorter than a bar" : needed
          ? `it takes \u00b1${format.show(needed, "points")}` : "");
    this.chart.divergence(this.window, scales, needed);
  }

  /** The chart in words, for who cannot see it; changed seldom. */
  #describe() {
    if (Date.now() - this.#said < TEXT_EVERY_MS) return;
    this.#said = Date.now();
    const { bars } = this.store;
    const { chart, window } = this;
    const last = bars.length - 1;
    const gap = chart.gap(last);
    const show = (v, kind) => format.show(Number.isFinite(v) ? v : null, kind);
    say(byId("chart-text"), `${this.symbol} at ${format.show(Math.floor(nowMs() / 1000), "time")} UTC: `
      + `price ${show(bars.close[last], "price")}; CVD since ${format.show(bars.zero, "time")}: spot `
      + `${show(bars.cumSpot[last], "usd")} USD, perpetuals ${show(bars.cumPerp[last], "usd")} USD; `
      + `divergence over ${window ?? "–"} minutes ${show(gap, "z")} scales; open interest `
      + `${show(chart.interestNow, "coins")} coins; ${chart.lists.signals.length} signals and `
      + `${chart.lists.trades.length} trades marked.`);
  }

  keys() {
    const { chart } = this;
    return {
      ",": () => this.by(-1),
      ".": () => this.by(1),
      d: () => {
        const minutes = (this.extra.view?.windows ?? []).map((window) => window.minutes)
          .sort((a, b) => a - b);
        if (minutes.length) {
          this.#chooseWindow(minutes[(minutes.indexOf(this.window) + 1) % minutes.length]);
        }
      },
      0: () => this.fourHours(),
      End: () => chart.toNow(),
      ArrowLeft: () => chart.pan(-0.1),
      ArrowRight: () => chart.pan(0.1),
      "+": () => chart.zoom(0.75),
      "=": () => chart.zoom(0.75),
      "-": () => chart.zoom(1.33),
    };
  }
}
