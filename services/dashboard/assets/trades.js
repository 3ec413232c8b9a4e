import { brief, clock, nowMs, setSince, since } from "./ages.js";
import { byId, choices, empty, figure, keyed, make, mark, say, table, tone } from "./dom.js";
import { base } from "./phases.js";

/** Positions, outcomes, signals, and the account. */

const KEPT = 50;
let shown = "trades";
let choose = () => {};
let focus = () => {};
let newest = { trades: null, signals: [] };

const tradeTable = table("Positions and outcomes", [
  { name: "Symbol", left: true }, { name: "Side", left: true }, { name: "Stake", className: "roomy" },
  { name: "Profit" }, { name: "%", hint: "Of the stake" }, { name: "Entry" },
  { name: "Now, exit", hint: "Current rate, or that of the exit" }, { name: "Stop" },
  { name: "Held" }, { name: "Reason", left: true }]);
const signalTable = table("Signals", [
  { name: "Time", left: true }, { name: "Symbol", left: true }, { name: "Action", left: true },
  { name: "Score" }, { name: "Price" }, { name: "Invalid" }, { name: "Stop" },
  { name: "Outcome", left: true }, { name: "Why", left: true }]);
const noTrades = empty("No trade yet.", "The first comes with the first signal that is filled.");
const noSignals = empty("No signal yet.",
  "Strategy says what each symbol waits for.");
const unknown = empty("Trades are not known yet.", "freqtrade has not answered.");

/** `onFocus(symbol, t)`: a row was chosen, show it in the chart. */
export function startTrades({ onFocus }) {
  focus = onFocus;
  choose = choices(byId("trades-tabs"), [
    { value: "trades", name: "Positions", title: "Positions and outcomes" },
    { value: "signals", name: "Signals", title: "The last signals" }], pick);
  pick("trades");
  return pick;
}

function pick(value) {
  shown = value;
  choose(value);
  draw();
}

export function showTrades(message) {
  newest.trades = message;
  account(message);
  draw();
}

export function showSignals(rows) {
  newest.signals = rows;
  draw();
}

function draw() {
  const root = byId("trades");
  const { trades, signals } = newest;
  const rows = trades ? [...trades.open, ...trades.closed].slice(0, KEPT) : [];
  const content = shown === "signals" ? (signals.length ? signalTable.element : noSignals)
    : !trades || (trades.problem && !rows.length) ? unknown : rows.length ? tradeTable.element
      : noTrades;
  if (root.firstElementChild !== content) root.replaceChildren(content);
  if (content === unknown && trades?.problem) say(unknown.lastElementChild, trades.problem);
  if (content === tradeTable.element) {
    keyed(tradeTable.body, rows, ({ trade_id: id }) => id, createTrade, showTrade);
  }
  if (content === signalTable.element) {
    keyed(signalTable.body, signals.slice(0, KEPT), ({ signal_id: id, event }) => id + event,
      createSignal, showSignal);
  }
}

function symbolCell(symbol, t) {
  return make("th", { className: "left", attributes: { scope: "row" } }, make("button", {
    type: "button", className: "plain", textContent: base(symbol),
    title: "Show it in the chart", onclick: () => focus(symbol, t) }));
}

function createTrade(trade) {
  const side = make("td", { className: `left ${trade.side}` });
  const [stake, entry, now, stop, profit, ratio] = Array.from({ length: 6 }, () => make("td"));
  stake.className = "roomy";
  const age = since(trade.opened_ms);
  const held = make("td");
  const reason = make("td", { className: "left wide" });
  return Object.assign(make("tr", {}, symbolCell(trade.symbol, trade.opened_ms / 1000), side,
    stake, profit, ratio, entry, now, stop, held, reason),
  { side, stake, entry, now, stop, profit, ratio, held, age, reason });
}

function showTrade(row, trade) {
  const at = `trade.${trade.trade_id}`;
  const open = trade.closed_ms === null;
  mark(row, "open", open);
  say(row.side, `${trade.side} ${format.show(trade.leverage, "times")}`);
  row.side.dataset.figure = `${at}.leverage`;
  row.side.dataset.value = String(trade.leverage);
  figure(row.stake, `${at}.stake`, trade.stake, "amount");
  figure(row.entry, `${at}.open_rate`, trade.open_rate, "price");
  if (open) figure(row.now, `${at}.current_rate`, trade.current_rate, "price");
  else figure(row.now, `${at}.close_rate`, trade.close_rate, "price");
  figure(row.stop, `${at}.stop_rate`, open ? trade.stop_rate : null, "price");
  figure(row.profit, `${at}.profit`, trade.profit, "money");
  figure(row.ratio, `${at}.profit_ratio`, trade.profit_ratio, "pct");
  tone(row.profit, trade.profit);
  tone(row.ratio, trade.profit);
  if (open && row.held.firstElementChild !== row.age) row.held.replaceChildren(row.age);
  if (!open) say(row.held, brief(trade.closed_ms - trade.opened_ms));
  setSince(row.age, trade.opened_ms);
  say(row.reason, open ? "open" : words(trade.exit_reason));
  row.title = `Trade ${trade.trade_id}, opened ${clock(trade.opened_ms)} UTC, stake `
    + `${format.show(trade.stake, "amount")}, `
    + `${format.show(trade.amount, "num")} coins`;
}

function createSignal(signal) {
  const time = make("td", { className: "left" });
  const action = make("td", { className: "left" });
  const [score, price, invalid, stop] = Array.from({ length: 4 }, () => make("td"));
  const outcome = make("td", { className: "left" });
  const why = make("td", { className: "left wide" });
  return Object.assign(make("tr", {}, time, symbolCell(signal.symbol, signal.ts_ms / 1000), action,
    score, price, invalid, stop, outcome, why),
  { time, action, score, price, invalid, stop, outcome, why });
}

function showSignal(row, signal) {
  const at = `signal.${signal.signal_id}`;
  const today = nowMs() - signal.ts_ms < 43_200_000;
  say(row.time, today ? clock(signal.ts_ms) : format.show(signal.ts_ms / 1000, "time"));
  say(row.action, signal.action.toLowerCase());
  row.action.className = `left ${signal.action.toLowerCase()}`;
  figure(row.score, `${at}.score`, signal.score, "points");
  figure(row.price, `${at}.entry_price`, signal.entry_price, "price");
  figure(row.invalid, `${at}.invalidation_price`, signal.invalidation_price, "price");
  figure(row.stop, `${at}.stop_price`, signal.stop_price, "price");
  say(row.outcome, signal.status ? words(signal.status) : "waits");
  say(row.why, signal.reasoning);
  row.why.title = signal.reasoning;
}

const words = (code) => code.toLowerCase().replace(/^sf[_: ]/, "").replaceAll("_", " ");

function account({ equity, profit_today: today, currency, problem }) {
  const root = byId("account");
  if (!root.firstElementChild) {
    root.append(make("span", { className: "soft", textContent: "Equity " }), make("b"),
      make("span", { className: "soft", textContent: "  Today " }), make("b"));
  }
  const [, whole, , profit] = root.children;
  figure(whole, "equity", equity, "amount", equity === null ? "" : ` ${currency}`);
  figure(profit, "profit_today", today, "money", today === null ? "" : ` ${currency}`);
  tone(profit, today ?? 0);
  root.title = problem;
}
