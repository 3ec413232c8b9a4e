import { brief, clock, nowMs, setSince, since } from "./ages.js";
import { byId, empty, figure, keyed, make, mark, say } from "./dom.js";
import { drawSpark, spark, stateDot } from "./spark.js";

/** The services with their states, the strategy's latencies, gaps of the data, and alerts. */

const GAPS_SHOWN = 30;
const RECENT_MS = 3_600_000;
const list = make("ul", { className: "services" });
const sparks = make("ul", { className: "sparks" });
const sparksHead = make("h3", { textContent: "Latency, ms" });
const gapsHead = make("h3", { textContent: "Gaps of the data, 4 h" });
const gaps = make("ul", { className: "gaps" });
const gapsBox = make("div", { hidden: true }, gapsHead, gaps);
const noServices = empty("Services are not known yet.", "");
const alerts = make("ul", { className: "incidents" });
const noAlerts = empty("No alerts.", "Nothing is wrong, and nothing was.");
const WORDS = { up: "up", degraded: "degraded", down: "down" };

export function showServices({ status, services, sparks: stages }) {
  const root = byId("services");
  const rows = Object.entries(services);
  if (!rows.length) {
    root.replaceChildren(noServices);
    return;
  }
  if (root.firstElementChild !== list) root.replaceChildren(list, sparksHead, sparks, gapsBox);
  const order = { down: 0, degraded: 1, up: 2 };
  rows.sort(([a, x], [b, y]) => order[x.state] - order[y.state] || a.localeCompare(b));
  keyed(list, rows, ([name]) => name, createService, showService);
  const well = rows.filter(([, { state }]) => state === "up").length;
  const sum = byId("services-sum");
  say(sum, `${well} of ${rows.length} up`);
  mark(sum, "warn", status !== "healthy");
  sparksHead.hidden = sparks.hidden = stages.length === 0;
  keyed(sparks, stages, ({ stage }) => stage, createStage, (row, stage) => {
    drawSpark(row.drawn, stage);
    figure(row.median, `spark.${stage.stage}.median`, stage.median.at(-1) ?? null, "usd");
    figure(row.p99, `spark.${stage.stage}.p99`, stage.p99.at(-1) ?? null, "usd");
  });
}

function createService([name]) {
  const dot = stateDot("");
  const word = make("span", { className: "word" });
  const age = make("span", { className: "age" });
  const detail = make("p", { className: "detail" });
  const remedy = make("p", { className: "remedy" });
  return Object.assign(make("li", {}, dot, make("b", { textContent: name }), word, age, detail, remedy),
    { dot, word, age, detail, remedy });
}

function showService(row, [name, { state, age_ms: age, detail, remedy }]) {
  row.dot.dataset.state = state;
  say(row.word, WORDS[state] ?? state);
  row.word.dataset.state = state;
  say(row.age, brief(age));
  row.age.dataset.figure = `service.${name}.age_ms`;
  row.age.dataset.value = String(age ?? "");
  const well = state === "up";
  row.detail.hidden = row.remedy.hidden = well;
  row.title = detail;
  say(row.detail, well ? "" : detail);
  say(row.remedy, well ? "" : remedy);
}

function createStage({ stage }) {
  const drawn = spark(stage);
  const median = make("span");
  const p99 = make("b");
  return Object.assign(make("li", {}, make("span", { className: "name", textContent: stage }),
    drawn.svg, make("span", { className: "of", title: "Median and 99th percentile, ms" }, median,
      make("span", { className: "soft", textContent: " / " }), p99)), { drawn, median, p99 });
}

export function showGaps(rows) {
  gapsBox.hidden = rows.length === 0;
  keyed(gaps, rows.slice(0, GAPS_SHOWN), (gap) => `${gap.market} ${gap.from_s}`, () => {
    const when = make("span", { className: "when" });
    const market = make("b");
    const how = make("span", { className: "soft" });
    return Object.assign(make("li", {}, when, market, how), { when, market, how });
  }, (row, gap) => {
    say(row.when, clock(gap.from_s * 1000).slice(0, 5));
    say(row.market, gap.market);
    say(row.how, `${gap.open ? "goes on" : format.show(gap.to_s - gap.from_s, "duration")}, ${gap.reason}`);
    row.title = `${gap.market}: ${clock(gap.from_s * 1000)} to ${clock(gap.to_s * 1000)} UTC, ${gap.reason}`;
    mark(row, "open", gap.open);
  });
}

/** Open incidents first, then what was said, newest first. */
export function showAlerts({ open, rows }) {
  const root = byId("alerts");
  const sum = byId("alerts-sum");
  say(sum, open.length ? `${open.length} open` : "none open");
  mark(sum, "warn", open.length > 0);
  const isOpen = new Set(open.map(key));
  const said = [...open.map((alert) => ({ ...alert, open: true })),
    ...rows.filter((alert) => !isOpen.has(key(alert)))];
  if (!said.length) {
    root.replaceChildren(noAlerts);
    return;
  }
  if (root.firstElementChild !== alerts) root.replaceChildren(alerts);
  keyed(alerts, said.slice(0, 60), key, createAlert, showAlert);
}

const key = ({ code, symbol, ts_ms: ts, ended_level: ended }) => `${code} ${symbol} ${ts} ${ended}`;

function createAlert(alert) {
  const age = since(alert.ts_ms);
  const level = make("b", { className: "level" });
  const text = make("p");
  return Object.assign(make("li", { data: { level: alert.level } }, level, age, text), { age, level, text });
}

function showAlert(row, alert) {
  const over = alert.ended_level !== "";
  mark(row, "open", alert.open);
  mark(row, "over", over || (!alert.open && nowMs() - alert.ts_ms > RECENT_MS));
  say(row.level, over ? "over" : alert.open ? `${alert.level}, open` : alert.level);
  say(row.text, alert.symbol && !alert.text.includes(alert.symbol) ? `${alert.symbol}: ${alert.text}`
    : alert.text);
  setSince(row.age, alert.ts_ms);
  row.title = `${clock(alert.ts_ms)} UTC, ${alert.code}`;
}
