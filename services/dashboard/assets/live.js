import { ageMs, forget, note, nowMs, showAges, stale, synchronize, tickAges } from "./ages.js";
import { Board, headline, title } from "./board.js";
import { connect } from "./connection.js";
import { byId, make, mark, pressed, say } from "./dom.js";
import { startKeys, startSearch } from "./keys.js";
import { announce, noticesOf, showClock, showLink, showNotices } from "./notices.js";
import { base, sideName, stateName } from "./phases.js";
import { showAlerts, showGaps, showServices } from "./services.js";
import { showStrategy } from "./strategy.js";
import { showSignals, showTrades, startTrades } from "./trades.js";
import { forgetVenues, showInterest, showVenues, showVenuesAge, startVenues } from "./venues.js";
import { Picture } from "./picture.js";

/** Joins the parts of the page: what the server says goes where it is shown. */

const SYMBOL_KEY = "squeezeflow.symbol";
const TABS = [["chart", "Chart"], ["strategy", "Strategy"], ["symbols", "Symbols"],
  ["trades", "Trades"], ["venues", "Venues"], ["system", "System"]];
/** Blocks that belong to one symbol. */
const OF_SYMBOL = ["second", "strategy", "venues", "open_interest", "gaps"];

const page = { symbol: "", hello: null, rows: [], view: null, trades: null, signals: [], gaps: [],
  trouble: {}, problem: "", open: false, why: "", tab: "chart" };
const picture = new Picture({ problem: (words) => { page.problem = words; notices(); } });
const board = new Board(byId("board"), watch);
const connection = connect({ onMessage: receive, onState: changeState });

function watch(symbol) {
  if (!symbol || symbol === page.symbol) return;
  page.symbol = symbol;
  localStorage.setItem(SYMBOL_KEY, symbol);
  forget(OF_SYMBOL);
  page.view = null;
  page.gaps = [];
  showStrategy(null);
  showGaps([]);
  forgetVenues();
  connection.watch(symbol);
  picture.watch(symbol);
  drawBoard();
  announce(`${symbol} is shown`);
}

/** The symbol `by` places further in the list. */
function step(by) {
  const symbols = page.hello?.symbols ?? [];
  const at = symbols.indexOf(page.symbol);
  if (symbols.length) watch(symbols[(at + by + symbols.length) % symbols.length]);
}

const HANDLERS = {
  hello(message) {
    synchronize(message.ts_ms);
    // The server has been exchanged: so must be what it serves.
    if (page.hello && page.hello.version !== message.version) location.reload();
    page.hello = message;
    const kept = localStorage.getItem(SYMBOL_KEY);
    picture.start(message.steps);
    badges();
    byId("logout").hidden = !message.login;
    if (page.symbol) connection.watch(page.symbol);
    else watch(message.symbols.includes(kept) ? kept : message.symbols[0]);
  },
  fresh({ block, symbol, ts_ms: ts }) {
    if (!symbol || symbol === page.symbol) note(block, ts);
  },
  revised({ symbol }) { if (symbol === page.symbol) picture.again(); },
  second(message) {
    note("second", (message.t + 1) * 1000);
    drawHead();
    picture.second(message);
  },
  board({ rows }) {
    const before = page.rows.find(({ symbol }) => symbol === page.symbol);
    page.rows = rows;
    drawBoard();
    const after = page.rows.find(({ symbol }) => symbol === page.symbol);
    if (before && after && before.state !== after.state) {
      announce(`${base(page.symbol)}: ${stateName(after.state)} ${sideName(after.direction)}`);
    }
  },
  strategy({ view }) {
    page.view = view;
    showStrategy(view);
    picture.strategy(view);
  },
  venues: showVenues,
  open_interest(message) {
    showInterest(message);
    picture.interest(message);
  },
  signals({ rows }) {
    if (page.signals.length && rows.length && rows[0].signal_id !== page.signals[0].signal_id) {
      announce(`New signal: ${rows[0].action.toLowerCase()} ${rows[0].symbol}`);
    }
    page.signals = rows;
    showSignals(rows);
    picture.marks("signals", rows);
  },
  trades(message) {
    if (page.trades && !page.trades.halted && message.halted) announce("The kill switch is on");
    page.trades = message;
    showTrades(message);
    picture.trades(message);
    badges();
    notices();
  },
  services: showServices,
  gaps({ rows }) {
    page.gaps = rows;
    showGaps(rows);
    picture.gaps(rows);
  },
  alerts(message) {
    showAlerts(message);
    mark(byId("tabs"), "alarm", message.open.length > 0);
  },
  trouble({ problems }) {
    page.trouble = problems;
    notices();
  },
};

function receive(message) {
  const { type, symbol, ts_ms: ts } = message;
  if (OF_SYMBOL.includes(type) && symbol !== page.symbol) return;
  if (ts !== undefined && type !== "second" && type !== "fresh") note(type, ts);
  HANDLERS[type]?.(message);
}

function changeState(state, why = "") {
  page.open = state === "open";
  page.why = why;
  page.tried ||= state === "lost";
  if (page.open) picture.resume();
  tick();
}

function drawBoard() {
  board.update(page.rows, page.symbol);
  drawHead();
}

function drawHead() {
  const row = page.rows.find(({ symbol }) => symbol === page.symbol);
  headline(row, page.symbol);
  const live = page.open && (ageMs("second") ?? Infinity) < 15_000;
  const words = title(row, page.symbol, live);
  if (document.title !== words) document.title = words;
}

function badges() {
  const real = page.trades?.real_money ?? page.hello?.real_money ?? null;
  const mode = byId("mode");
  mode.hidden = !page.hello;
  const demo = page.hello?.mode === "demo";
  say(mode, real ? "real money" : demo ? "demo" : real === null ? page.hello?.mode ?? "" : "paper");
  mode.title = real ? "Orders are real money" : demo ? "The exchanges are simulated"
    : real === null ? "freqtrade has not said yet whether money is real" : "Money is simulated";
  mark(mode, "real", real === true);
  const halt = byId("halt");
  const halted = page.trades?.halted ?? null;
  halt.hidden = halted === null;
  say(halt, halted ? "kill switch on" : "entries on");
  halt.title = halted ? page.trades.halted_reason : "The kill switch is off";
  mark(halt, "bad", halted === true);
}

function notices() {
  showNotices(noticesOf({ ...page, heardMs: connection?.heardMs() ?? null,
    second: ageMs("second"), why: page.why }));
}

function tick() {
  showClock(nowMs());
  showLink(page.open, ageMs("second"));
  showAges();
  mark(byId("chart").parentElement, "stale", stale("second"));
  mark(document.body, "lost", !page.open && page.hello !== null);
  tickAges();
  showVenuesAge();
  notices();
  drawHead();
}

function show(tab) {
  page.tab = tab;
  document.body.dataset.tab = tab;
  [...byId("tabs").children].forEach((button) => pressed(button, button.dataset.tab === tab));
  window.scrollTo(0, 0);
}

function startTabs() {
  byId("tabs").replaceChildren(...TABS.map(([tab, name]) => make("button", { type: "button",
    data: { tab }, onclick: () => show(tab) }, make("span", { textContent: name }))));
  show("chart");
}

const search = startSearch(() => page.hello?.symbols ?? [], watch);
byId("symbol").addEventListener("click", search);
const pickTrades = startTrades({ onFocus: (symbol, t) => {
  watch(symbol);
  show("chart");
  picture.focus(t);
} });
const nextVenues = startVenues();
startTabs();
startKeys({
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => [String(n),
    () => watch(page.hello?.symbols[n - 1])])),
  "[": () => step(-1),
  "]": () => step(1),
  "/": search,
  "?": () => byId("help").showModal(),
  p: () => pickTrades("trades"),
  s: () => pickTrades("signals"),
  v: nextVenues,
  Escape: () => document.activeElement?.blur(),
  ...picture.keys(),
});
setInterval(tick, 1_000);
