/** The series of the chart: which panes there are, how they look, and a point of each. */

export const COLORS = { spot: "#f2cc60", perp: "#b48ef2", oi: "#7fa6c9", up: "#4cb5f5",
  down: "#f0883e" };
const PANEL = "#10141b";
const LINE = "#212936";
const TEXT = "#9aa5b5";
export const PANES = [
  { id: "price", weight: 47 }, { id: "cvd", weight: 27 }, { id: "gap", weight: 17 },
  { id: "oi", weight: 12 }, { id: "liq", weight: 11 },
];

const MIN_MOVE = { price: 1e-10, usd: 1, coins: 1e-3, z: 1e-2 };
const priceFormat = (kind) => ({ type: "custom", minMove: MIN_MOVE[kind],
  formatter: (v) => format.show(v, kind) });

export function chartOptions() {
  return {
    autoSize: true,
    layout: {
      background: { type: "solid", color: PANEL }, textColor: TEXT, fontSize: 11,
      fontFamily: "Inter, system-ui, sans-serif", attributionLogo: false,
      panes: { separatorColor: LINE, separatorHoverColor: "#2d3a4d", enableResize: true },
    },
    grid: { vertLines: { color: "#171d27" }, horzLines: { color: "#171d27" } },
    crosshair: { mode: 0, vertLine: { color: "#5d6878", labelBackgroundColor: "#2a3443" },
      horzLine: { color: "#5d6878", labelBackgroundColor: "#2a3443" } },
    localization: { locale: "en-US", timeFormatter: (t) => `${format.show(t, "time")} UTC` },
    timeScale: { timeVisible: true, secondsVisible: false, borderColor: LINE, rightOffset: 6,
      minBarSpacing: 0.05 },
    rightPriceScale: { borderColor: LINE, minimumWidth: 72 },
    handleScroll: { vertTouchDrag: false },
    kineticScroll: { mouse: false, touch: true },
  };
}

/** Adds all series to the chart; returns them by name. */
export function addSeries(chart) {
  const lib = LightweightCharts;
  const quiet = { priceLineVisible: false, crosshairMarkerVisible: false };
  const add = (kind, pane, options, margins) => {
    const series = chart.addSeries(lib[kind], { ...quiet, ...options }, pane);
    if (margins) series.priceScale().applyOptions({ scaleMargins: margins });
    return series;
  };
  const line = (color, pane, kind, top, more = {}) => add("LineSeries", pane, { color,
    lineWidth: 1.5, lastValueVisible: true, priceFormat: priceFormat(kind), ...more },
  { top, bottom: 0.08 });
  const bars = (color, more) => add("HistogramSeries", 4, { color, base: 0,
    lastValueVisible: false, priceFormat: priceFormat("usd"), ...more }, { top: 0.36, bottom: 0.06 });
  const volume = add("HistogramSeries", 0, { priceScaleId: "volume", lastValueVisible: false,
    priceFormat: priceFormat("usd") }, { top: 0.86, bottom: 0 });
  const candles = add("CandlestickSeries", 0, {
    upColor: COLORS.up, wickUpColor: COLORS.up, borderUpColor: COLORS.up, downColor: PANEL,
    wickDownColor: COLORS.down, borderDownColor: COLORS.down, priceLineVisible: true,
    priceLineColor: "#5d6878", priceLineStyle: 1, priceFormat: priceFormat("price"),
  }, { top: 0.1, bottom: 0.18 });
  const perp = line(COLORS.perp, 1, "usd", 0.2);
  const spot = line(COLORS.spot, 1, "usd", 0.2);
  const gap = add("BaselineSeries", 2, { baseValue: { type: "price", price: 0 }, lineWidth: 1.5,
    topLineColor: COLORS.up, topFillColor1: "rgba(76,181,245,.32)",
    topFillColor2: "rgba(76,181,245,.04)", bottomLineColor: COLORS.down,
    bottomFillColor1: "rgba(240,136,62,.04)", bottomFillColor2: "rgba(240,136,62,.32)",
    priceFormat: priceFormat("z") }, { top: 0.3, bottom: 0.1 });
  const oi = line(COLORS.oi, 3, "coins", 0.38, { lineType: lib.LineType.WithSteps });
  const lbuy = bars(COLORS.up);
  const lsell = bars(COLORS.down);
  chart.panes().forEach((pane, i) => pane.setStretchFactor(PANES[i].weight));
  return { candles, volume, spot, perp, gap, oi, lbuy, lsell };
}

const SOFT_UP = "rgba(76,181,245,.26)";
const SOFT_DOWN = "rgba(240,136,62,.24)";
const plain = (time, value) => (Number.isFinite(value) ? { time, value } : { time });

/** Maker of the points of each series at bar `i`. `gap(i)`, `interest(i)`: values or NaN. */
export function points(bars, gap, interest) {
  return {
    candles: (i, time) => (Number.isNaN(bars.close[i]) ? { time } : { time, open: bars.open[i],
      high: bars.high[i], low: bars.low[i], close: bars.close[i] }),
    volume: (i, time) => ({ time, value: bars.spotVolume[i] + bars.perpVolume[i],
      color: bars.close[i] >= bars.open[i] ? SOFT_UP : SOFT_DOWN }),
    spot: (i, time) => ({ time, value: bars.cumSpot[i] }),
    perp: (i, time) => ({ time, value: bars.cumPerp[i] }),
    gap: (i, time) => plain(time, gap(i)),
    oi: (i, time) => plain(time, interest(i)),
    lbuy: (i, time) => (bars.lbuy[i] > 0 ? { time, value: bars.lbuy[i] } : { time }),
    lsell: (i, time) => (bars.lsell[i] > 0 ? { time, value: -bars.lsell[i] } : { time }),
  };
}
