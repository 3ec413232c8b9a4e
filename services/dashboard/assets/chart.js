import { Legends } from "./legends.js";
import { gapLayer, momentLayer, setupLayer, signalLayer } from "./layers.js";
import { COLORS, addSeries, chartOptions, points } from "./panes.js";

/** The panes over one time axis: draws the store's bars, and what the strategy makes of them. */

const MANY = 400;
const INTEREST_MAX_S = 1_800;
/** Share of the view that is left free after the newest bar. */
const ROOM = 0.08;
const PX_A_BAR = { min: 2.6, max: 7 };

export class Chart {
  constructor(element, { range, drawn }) {
    const style = getComputedStyle(element);
    const theme = Object.fromEntries(["back", "panel", "line", "text", "soft", "up", "down"]
      .map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.element = element;
    this.chart = LightweightCharts.createChart(element, chartOptions());
    this.scale = this.chart.timeScale();
    this.series = addSeries(this.chart);
    this.legends = new Legends(element, this.chart);
    this.lists = { gaps: [], forcedGaps: [], trades: [], signals: [], moments: [], setup: null };
    this.lines = new Map();
    this.thresholds = [];
    this.window = null;
    this.scales = null;
    this.cross = null;
    this.#drawn = drawn;
    this.#attach(() => theme);
    this.scale.subscribeVisibleLogicalRangeChange((seen) => {
      requestAnimationFrame(() => this.legends.place());
      if (seen) range(seen);
    });
    this.scale.subscribeSizeChange(() => requestAnimationFrame(() => this.legends.place()));
    this.chart.subscribeCrosshairMove(({ logical }) => {
      this.cross = logical ?? null;
      this.speak();
    });
    const settled = () => requestAnimationFrame(() => this.legends.place());
    new ResizeObserver(() => requestAnimationFrame(settled)).observe(element);
    // The handles between the panes move them without a word.
    element.addEventListener("pointerup", () => this.legends.place());
  }

  #drawn;
  #layers = [];

  #attach(theme) {
    const { lists } = this;
    const x = (t) => this.#x(t);
    const attach = (series, layer) => {
      series.attachPrimitive(layer);
      this.#layers.push(layer);
    };
    const { candles, spot, gap, oi, lbuy } = this.series;
    for (const series of [candles, spot, gap, oi, lbuy]) {
      attach(series, setupLayer(() => lists.setup, x));
      attach(series, gapLayer(series === lbuy ? lists.forcedGaps : lists.gaps, x));
    }
    attach(candles, momentLayer(lists.moments, x, theme));
    attach(candles, signalLayer(lists.signals, x, theme));
    attach(candles, drawing.trades(lists.trades, x, theme, () => this.chosen ?? -1));
  }

  /** Time -> x: the axis is regular, so a time between two bars has a place as well. */
  #x(t) {
    if (!this.bars) return null;
    const from = this.scale.logicalToCoordinate(0);
    const to = this.scale.logicalToCoordinate(1);
    if (from === null || to === null) return null;
    return from + ((t - this.bars.first) / this.bars.step - 0.5) * (to - from);
  }

  /** Bars from index `from` on have changed, 0: all. */
  draw(bars, interest, from) {
    const fresh = bars !== this.bars || from <= 0 || this.first !== bars.first
      || bars.length - from > MANY;
    this.bars = bars;
    this.first = bars.first;
    this.interest = interest;
    const make = points(bars, (i) => this.gap(i), this.#interestAt(fresh ? 0 : from));
    for (const [name, series] of Object.entries(this.series)) {
      if (fresh) {
        series.setData(Array.from({ length: bars.length }, (_, i) => make[name](i, bars.time(i))));
      } else {
        this.#update(series, make[name], from);
      }
    }
    this.count = bars.length;
    if (fresh) this.scale.applyOptions({ secondsVisible: bars.step < 60 });
    if (this.cross === null) this.speak();
    if (fresh) this.#drawn(bars);
  }

  #update(series, point, from) {
    const { bars } = this;
    for (let i = from; i < bars.length; i += 1) {
      series.update(point(i, bars.time(i)), i < this.count - 1);
    }
  }

  gap(i) {
    return this.scales ? this.bars.gap(i, this.window, this.scales) : NaN;
  }

  /** Open interest at the close of each bar: the newest value, none older than half an hour. */
  #interestAt(from) {
    const { bars } = this;
    const times = [...this.interest.keys()].sort((a, b) => a - b);
    let at = -1;
    const values = new Map();
    for (let i = from; i < bars.length; i += 1) {
      const close = bars.time(i) + bars.step;
      while (at + 1 < times.length && times[at + 1] < close) at += 1;
      const known = at >= 0 && close - times[at] <= INTEREST_MAX_S + bars.step;
      values.set(i, known ? this.interest.get(times[at]) : NaN);
    }
    this.interestNow = values.get(bars.length - 1) ?? NaN;
    return (i) => values.get(i) ?? NaN;
  }

  /** The window of the divergence, minutes, its scales {spot, perp, gap}, and the threshold. */
  divergence(window, scales, threshold) {
    const same = this.window === window && JSON.stringify(scales) === JSON.stringify(this.scales);
    this.window = window;
    this.scales = scales;
    this.#threshold(threshold);
    if (same || !this.bars) return;
    const { bars, series } = this;
    const make = points(bars, (i) => this.gap(i), () => NaN).gap;
    series.gap.setData(Array.from({ length: bars.length }, (_, i) => make(i, bars.time(i))));
    this.speak();
  }

  #threshold(need) {
    if (this.need === need) return;
    this.need = need;
    this.thresholds.forEach((line) => this.series.gap.removePriceLine(line));
    this.thresholds = need ? [need, -need].map((price) => this.series.gap.createPriceLine({ price,
      color: price > 0 ? COLORS.up : COLORS.down, lineWidth: 1, lineStyle: 2,
      axisLabelVisible: false, title: "" })) : [];
  }

  /** Lines across the price pane: [{id, price, name, color, style}]. */
  levels(list) {
    const kept = new Set();
    for (const { id, price, name, color, dashed = true } of list) {
      kept.add(id);
      const options = { price, title: name, color, lineWidth: 1, lineStyle: dashed ? 2 : 0,
        axisLabelVisible: true, axisLabelColor: "#243042", axisLabelTextColor: "#e6edf6" };
      const line = this.lines.get(id);
      if (!line) this.lines.set(id, this.series.candles.createPriceLine(options));
      else if (line.options().price !== price) line.applyOptions({ price });
    }
    for (const [id, line] of this.lines) {
      if (kept.has(id)) continue;
      this.series.candles.removePriceLine(line);
      this.lines.delete(id);
    }
  }

  /** Lists of what layers draw: gaps, forcedGaps, trades, signals, moments, setup. */
  put(lists) {
    for (const [name, value] of Object.entries(lists)) {
      if (name === "setup") this.lists.setup = value;
      else this.lists[name].splice(0, Infinity, ...value);
    }
    this.#layers.forEach((layer) => layer.repaint());
  }

  /** Write the values under the crosshair, or the newest. */
  speak() {
    const { bars } = this;
    if (!bars?.length) return;
    const last = bars.length - 1;
    const i = this.cross === null ? last : Math.min(last, Math.max(0, Math.round(this.cross)));
    const row = bars.row(i);
    row.volume = row.spotVolume + row.perpVolume;
    row.gap = this.gap(i);
    row.oi = i === last ? this.interestNow : this.series.oi.dataByIndex(i)?.value;
    this.legends.show(row);
  }

  /** How many bars look well in the room there is. */
  bestCount() {
    const room = Math.max(120, this.element.clientWidth - 80);
    return Math.round(Math.min(room / PX_A_BAR.min, Math.max(room / PX_A_BAR.max, 240)));
  }

  /** Show [from, to], UTC s. */
  show(from, to) {
    const { bars } = this;
    const range = { from: (from - bars.first) / bars.step, to: (to - bars.first) / bars.step };
    this.scale.setVisibleLogicalRange(range);
  }

  /** Show the last `seconds`, with a little room before the right edge. */
  showLast(seconds) {
    const { end } = this.bars;
    this.show(end - seconds, end + seconds * ROOM);
  }

  /** What is seen, UTC s: [from, to]; null before anything is. */
  seen() {
    const range = this.scale.getVisibleLogicalRange();
    if (!range || !this.bars) return null;
    return [this.bars.first + range.from * this.bars.step, this.bars.first + range.to * this.bars.step];
  }

  zoom(factor) {
    const { from, to } = this.scale.getVisibleLogicalRange();
    const newest = this.bars.length - 1;
    // The newest bar stays where it is while it is seen.
    const fixed = newest <= to ? newest : (from + to) / 2;
    this.scale.setVisibleLogicalRange({ from: fixed - (fixed - from) * factor,
      to: fixed + (to - fixed) * factor });
  }

  pan(share) {
    const { from, to } = this.scale.getVisibleLogicalRange();
    const by = (to - from) * share;
    this.scale.setVisibleLogicalRange({ from: from + by, to: to + by });
  }

  toNow() {
    const seen = this.seen();
    if (seen) this.showLast((seen[1] - seen[0]) / (1 + ROOM));
  }
}
