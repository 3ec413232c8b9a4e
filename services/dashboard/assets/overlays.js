import { COLORS } from "./panes.js";

/** What the chart marks besides bars: trades, signals, the set-up, gaps, and lines of price. */

const DEAD = new Set(["rejected", "expired", "cancelled", "refused"]);
const SOFT = "#8b96a8";
/** Reason of a gap whose trades are complete: only forced orders may be missing. */
const FORCED_ORDERS_ONLY = "liquidations";

/**
 * Lists for `Chart.put`; `forcedGaps` are those of the liquidations.
 * `gaps`: rows of the protocol; `now`: UTC s of the newest bar's end.
 */
export function overlays({ markers, view, gaps, now }) {
  const trades = [...markers.trades.values()].map(tradeMark);
  const signals = [...markers.signals.values()]
    .filter(({ action, event }) => action !== "CLOSE" && event !== "CANCEL").map(signalMark);
  const setup = view?.setup ?? null;
  return {
    trades,
    signals,
    gaps: merged(gaps.filter(({ reason }) => reason !== FORCED_ORDERS_ONLY)),
    forcedGaps: merged(gaps),
    setup: setup && { from: setup.anchor_t, to: now, direction: setup.direction },
    moments: moments(setup),
  };
}

function tradeMark({ trade_id: id, side, opened_ms: opened, open_rate: entry, closed_ms: closed,
  close_rate: exit, profit }) {
  return { from: opened / 1000, entry, side: side === "short" ? -1 : 1, text: `trade ${id}`,
    to: closed === null ? null : closed / 1000, exit, won: closed === null ? null : profit > 0 };
}

function signalMark({ ts_ms: ts, action, score, entry_price: price, status }) {
  const dead = DEAD.has((status ?? "").toLowerCase());
  return { t: ts / 1000, price, side: action === "SHORT" ? -1 : 1, dead,
    text: `${action.toLowerCase()} ${format.show(score, "points")}${dead ? ` ${status.toLowerCase()}` : ""}` };
}

function moments(setup) {
  if (!setup) return [];
  return [[setup.anchor_t, "anchor"], [setup.peak_t, "peak"], [setup.reset_t, "reset"]]
    .filter(([t]) => t).sort(([a], [b]) => a - b).map(([t, name]) => ({ t, name }));
}

/** Gaps of single markets as spans of time in which at least one has one. */
function merged(gaps) {
  const spans = gaps.map(({ from_s: from, to_s: to }) => ({ from, to }))
    .sort((a, b) => a.from - b.from);
  const out = [];
  for (const span of spans) {
    const last = out.at(-1);
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to);
    else out.push(span);
  }
  return out;
}

/** Lines of price: of open trades, of the strategy's position, or of the set-up. */
export function levels({ symbol, trades, view }) {
  const lines = [];
  for (const trade of trades?.open ?? []) {
    if (trade.symbol !== symbol) continue;
    const color = trade.side === "short" ? COLORS.down : COLORS.up;
    lines.push({ id: `entry ${trade.trade_id}`, price: trade.open_rate, name: `${trade.side} entry`,
      color, dashed: false });
    if (trade.stop_rate) {
      lines.push({ id: `stop ${trade.trade_id}`, price: trade.stop_rate, name: "stop", color: SOFT });
    }
  }
  const position = view?.position;
  if (position?.invalidation_price) {
    lines.push({ id: "invalidation", price: position.invalidation_price, name: "invalidation",
      color: "#f2cc60" });
  } else if (view?.setup?.extreme_price) {
    lines.push({ id: "extreme", price: view.setup.extreme_price, name: "extreme", color: "#f2cc60" });
  }
  return lines;
}
