import { ageMs, brief, setSince, since } from "./ages.js";
import { byId, choices, empty, figure, keyed, make, mark, say, share, table, tone } from "./dom.js";


/** Volume of the watched symbol by venue, buys against sells, and open interest by venue. */

const LENGTHS = [["60", "1m"], ["900", "15m"], ["14400", "4h"]];
const OI_OLD_MS = 900_000;
const DOUBTS = "carried: it did not answer, this is its last value; held: a jump that is not believed yet";
let shown = "900";
let press = () => {};
let flows = null;
let interest = null;

const volume = table("Volume by venue", [{ name: "Venue", left: true },
  { name: "Buys" }, { name: "Split", className: "centred", hint: "Buys to the left, sells to the right" },
  { name: "Sells" }, { name: "Net" }]);
const open = table("Open interest by venue", [{ name: "Venue", left: true }, { name: "Coins" },
  { name: "USD" }, { name: "24h" }, { name: "Age" }]);
const noFlows = empty("No volume yet.", "Is aggr-server up? Its feeds fill this within a minute.");
const noInterest = empty("No open interest yet.", "Is oi-tracker up? Venues tell it every few minutes.");
const missing = make("p", { className: "missing" });
const openBox = make("div", {}, open.element, missing);

export function startVenues() {
  press = choices(byId("venues-tabs"), [...LENGTHS.map(([value, name]) => ({ value, name,
    title: `Volume of the last ${name}` })), { value: "oi", name: "OI", title: "Open interest" }],
  pick);
  pick(shown);
  const all = [...LENGTHS.map(([value]) => value), "oi"];
  return () => pick(all[(all.indexOf(shown) + 1) % all.length]);
}

function pick(value) {
  shown = value;
  press(value);
  draw();
}

export function showVenues(message) {
  flows = message;
  draw();
}

export function showInterest(message) {
  interest = message;
  draw();
}

export function forgetVenues() {
  flows = null;
  interest = null;
  draw();
}

function draw() {
  const root = byId("venues");
  const rows = flows?.flows[shown] ?? [];
  const content = shown === "oi" ? (interest?.venues.length ? openBox : noInterest)
    : rows.length ? volume.element : noFlows;
  if (root.firstElementChild !== content) root.replaceChildren(content);
  if (content === volume.element) drawFlows(rows);
  if (content === openBox) drawInterest();
  showVenuesAge();
}

export function showVenuesAge() {
  const age = ageMs(shown === "oi" ? "open_interest" : "venues");
  say(byId("venues-age"), age === null ? "" : brief(age));
}

function drawFlows(rows) {
  const all = rows.map((flow) => ({ ...flow, total: flow.vbuy + flow.vsell }))
    .sort((a, b) => b.total - a.total);
  const most = Math.max(0, ...all.map(({ vbuy, vsell }) => Math.max(vbuy, vsell)));
  const sums = ["spot", "perp"].map((kind) => {
    const each = all.filter((flow) => flow.kind === kind);
    const sum = (side) => each.reduce((total, flow) => total + flow[side], 0);
    return { exchange: "All", kind, vbuy: sum("vbuy"), vsell: sum("vsell"), sum: true };
  }).filter(({ vbuy, vsell }) => vbuy + vsell > 0);
  keyed(volume.body, [...sums, ...all], flowKey, createFlow, (row, flow) => showFlow(row, flow, most));
}

const flowKey = ({ exchange, kind, sum }) => `${sum ? "sum." : ""}${exchange}.${kind}`;

function createFlow({ exchange, kind, sum }) {
  const [buy, sell, net] = [make("td"), make("td"), make("td")];
  const left = make("i", { className: "buy" });
  const right = make("i", { className: "sell" });
  const split = make("div", { className: "split", attributes: { "aria-hidden": "true" } }, left, right);
  return Object.assign(make("tr", { className: sum ? "sum" : "" },
    make("th", { className: "left", attributes: { scope: "row" } },
      `${sum ? "All" : venueName(exchange)} `, make("span", { className: `kind ${kind}`,
        textContent: kind })), buy,
    make("td", { className: "split-cell" }, split), sell, net),
  { buy, sell, net, left, right });
}

const SPELLED = { OKX: "OKX", HTX: "HTX", OKEX: "OKX", KUCOIN: "KuCoin", BITMEX: "BitMEX", GATEIO: "Gate.io",
  DYDX: "dYdX", MEXC: "MEXC", BITGET: "Bitget", CRYPTO_COM: "Crypto.com", BINANCE_FUTURES: "Binance",
  BINANCE_US: "Binance US" };

function venueName(exchange) {
  return SPELLED[exchange] ?? exchange.split(/[_-]/).map((part) => part[0] + part.slice(1).toLowerCase()).join(" ");
}

function showFlow(row, flow, most) {
  const { exchange, kind, vbuy, vsell } = flow;
  const net = vbuy - vsell;
  if (flow.sum) {
    say(row.buy, format.show(vbuy, "usd"));
    say(row.sell, format.show(vsell, "usd"));
  } else {
    const at = `venues.${shown}.${exchange}.${kind}`;
    figure(row.buy, `${at}.vbuy`, vbuy, "usd");
    figure(row.sell, `${at}.vsell`, vsell, "usd");
  }
  const whole = flow.sum ? Math.max(vbuy, vsell) : most;
  share(row.left, vbuy, whole);
  share(row.right, vsell, whole);
  say(row.net, `${net > 0 ? "+" : ""}${format.show(net, "usd")}`);
  tone(row.net, net);
}

function drawInterest() {
  const { venues, coins, usd, change_24h: change, missing: away } = interest;
  const rows = [{ exchange: "", coins, usd, change_24h: change, ts_ms: interest.ts_ms, sum: true },
    ...[...venues].sort((a, b) => b.coins - a.coins)];
  keyed(open.body, rows, ({ exchange }) => exchange, ({ exchange, sum, ts_ms: ts }) => {
    const values = [make("td"), make("td"), make("td")];
    const age = since(ts, OI_OLD_MS);
    const doubt = make("span", { className: "warn" });
    return Object.assign(make("tr", { className: sum ? "sum" : "" }, make("th", {
      className: "left", attributes: { scope: "row" },
      title: sum ? "" : DOUBTS }, sum ? "All venues" : `${venueName(exchange)} `, doubt), ...values,
    make("td", {}, age)), { values, age, doubt });
  }, (row, venue) => {
    const at = venue.sum ? "oi" : `oi.${venue.exchange}`;
    figure(row.values[0], `${at}.coins`, venue.coins, "coins");
    figure(row.values[1], `${at}.usd`, venue.usd, "usd");
    figure(row.values[2], `${at}.change_24h`, venue.change_24h, "pct");
    tone(row.values[2], venue.change_24h ?? 0);
    setSince(row.age, venue.ts_ms);
    say(row.doubt, venue.held ? "held" : venue.carried ? "carried" : "");
  });
  missing.hidden = away.length === 0;
  say(missing, `Not in the sum: ${away.map(venueName).join(", ")}`);
  mark(missing, "warn", true);
}
