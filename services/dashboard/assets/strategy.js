import { clock, setSince, since } from "./ages.js";
import { byId, empty, figure, keyed, make, mark, say, share, table, tone } from "./dom.js";
import { Waits } from "./waits.js";
import { ENVIRONMENTS, PARTS, PHASES, STATES, sideName, stateName } from "./phases.js";

/** Where the watched symbol stands: its phase, the score building up, and why not yet. */

const steps = make("ol", { className: "stepper", attributes: { "aria-label": "The five phases" } },
  ...PHASES.map((name) => make("li", {}, make("span", { textContent: name }))));
const state = make("b", { className: "state" });
const does = make("p", { className: "does" });
const sinceAge = since("");
const sinceLine = make("span", { className: "soft" }, "for ", sinceAge);
const contextWord = make("b");
const contextStrength = make("span");
const context = make("p", { className: "context soft" }, "The hours before: ", contextWord, " ",
  contextStrength);
const score = scoreBlock();
const waits = new Waits();
const windows = table("Divergence by window", [{ name: "Window", left: true },
  { name: "Spot", hint: "Change of the spot CVD, in scales" },
  { name: "Perp", hint: "Change of the perpetual CVD, in scales" },
  { name: "Price", hint: "Change of the price, in scales" },
  { name: "Gap", hint: "Spot minus perpetual, in scales" }, { name: "Holds" }]);
const facts = make("dl", { className: "facts" });
const factsHead = make("h3");
const feed = make("dl", { className: "facts feed" });
const nothing = empty("No strategy-runner tells about this symbol.",
  "See Services: is strategy-runner up, and does it lead this symbol?");
const body = make("div", { className: "method-body" },
  make("div", { className: "phase" }, steps, make("p", { className: "line" }, state, sinceLine), does,
    context),
  score.element,
  waits.element,
  make("section", {}, make("h3", { textContent: "Divergence, in scales" }), windows.element),
  make("section", { className: "facts-box" }, factsHead, facts),
  make("section", {}, feed));

function scoreBlock() {
  const total = make("b", { className: "total" });
  const needed = make("span");
  const stack = make("div", { className: "stack", attributes: { "aria-hidden": "true" } },
    ...Object.keys(PARTS).map((part) => make("i", { data: { part } })),
    make("u", { className: "need" }));
  const parts = make("ul", { className: "parts" });
  const element = make("section", { className: "score" },
    make("h3", {}, "Score ", make("span", { className: "soft" }, "of 10, entry from ", needed,
      make("span", { className: "begins", textContent: "; it begins with a reset" }))),
    make("div", { className: "sum" }, total, stack), parts);
  return { element, total, needed, stack, parts };
}

export function showStrategy(view) {
  const root = byId("method");
  if (!view) {
    if (root.firstElementChild !== nothing) root.replaceChildren(nothing);
    return;
  }
  if (root.firstElementChild !== body) root.replaceChildren(body);
  showPhase(view);
  showScore(view);
  waits.show(view);
  showWindows(view);
  showFacts(view);
}

function showPhase(view) {
  const { phase, does: doing } = STATES[view.state] ?? { phase: 0, does: "" };
  [...steps.children].forEach((step, i) => {
    mark(step, "now", i + 1 === phase);
    mark(step, "done", i + 1 < phase);
    if (i + 1 === phase) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
  steps.dataset.side = sideName(view.direction);
  const side = sideName(view.direction);
  say(state, `${stateName(view.state)}${side ? `, ${side}` : ""}`);
  for (const name of ["long", "short"]) mark(state, name, side === name);
  sinceLine.hidden = view.since_t === null;
  if (view.since_t !== null) setSince(sinceAge, view.since_t * 1000);
  say(does, sentence(view, doing));
  figure(contextStrength, "view.k", view.k, "z");
  say(contextWord, ENVIRONMENTS[view.environment] ?? view.environment);
  context.dataset.environment = view.environment;
}

function sentence(view, doing) {
  if (view.degraded) return "Its data are not trusted now: nothing is entered.";
  if (view.state === "WARMUP" && view.warm_at_t) {
    return `Warming up until ${clock(view.warm_at_t * 1000).slice(0, 5)} UTC at the latest.`;
  }
  if (view.state === "COOLDOWN" && view.cooldown_until_t) {
    return `Rests after a trade until ${clock(view.cooldown_until_t * 1000)} UTC.`;
  }
  return doing;
}

function showScore(view) {
  const known = view.score !== null;
  mark(score.element, "none", !known);
  figure(score.total, "view.score", view.score, "points");
  figure(score.needed, "view.score_needed", view.score_needed, "points");
  mark(score.total, "enough", known && view.score >= view.score_needed);
  share(score.stack.lastElementChild, view.score_needed, 10, "--at");
  [...score.stack.querySelectorAll("i")].forEach((part) => {
    share(part, Math.max(0, view.parts[part.dataset.part] ?? 0), 10);
  });
  const names = [...new Set([...Object.keys(PARTS), ...Object.keys(view.parts_max)])];
  keyed(score.parts, names, (name) => name, (name) => {
    const meter = make("i", { className: "meter", data: { part: name }, attributes: { "aria-hidden": "true" } });
    const have = make("b");
    const most = make("span");
    return Object.assign(make("li", {}, make("span", { className: "name",
      textContent: PARTS[name] ?? name.replaceAll("_", " ") }), meter,
    make("span", { className: "of" }, have, " / ", most)), { meter, have, most });
  }, (row, name) => {
    const value = view.parts[name] ?? null;
    figure(row.have, `view.parts.${name}`, value, "points");
    figure(row.most, `view.parts_max.${name}`, view.parts_max[name] ?? null, "points");
    share(row.meter, value ?? 0, view.parts_max[name] ?? 0);
    tone(row.have, value < 0 ? -1 : 0);
    row.title = view.waits.find((wait) => wait.kind === "points" && wait.code === name)?.text ?? "";
  });
}

function showWindows(view) {
  keyed(windows.body, view.windows, (window) => window.minutes, (window) => {
    const values = ["z_spot", "z_perp", "z_price", "gap"].map(() => make("td"));
    const holds = make("td");
    return Object.assign(make("tr", {}, make("th", { className: "left", attributes: { scope: "row" },
      textContent: window.minutes < 60 ? `${window.minutes} min` : `${window.minutes / 60} h` }),
    ...values, holds), { values, holds });
  }, (row, window) => {
    ["z_spot", "z_perp", "z_price", "gap"].forEach((name, i) => {
      figure(row.values[i], `view.windows.${window.minutes}.${name}`, window[name], "z");
      if (name === "gap") tone(row.values[i], window.gap ?? 0);
    });
    say(row.holds, window.holds ? "yes" : "no");
    mark(row.holds, "yes", window.holds);
  });
}

const RESETS = { A: "A, calm", B: "B, burst" };

/** [label, name of the figure, value, kind] of the set-up or the position. */
function factsOf({ setup, position }) {
  if (position) {
    return ["Position", [
      ["Side", null, sideName(position.direction), "text"],
      ["Trade", "view.position.trade_id", position.trade_id, "text"],
      ["Entry", "view.position.entry_price", position.entry_price, "price"],
      ["Invalidation", "view.position.invalidation_price", position.invalidation_price, "price"],
      ["Given back", "view.position.reversal", position.reversal, "share"],
      ["Exit from", "view.position.reversal_needed", position.reversal_needed, "share"],
      ["Open since", null, position.entry_t, "at"],
    ]];
  }
  if (!setup) return ["", []];
  return ["Set-up", [
    ["Side", null, sideName(setup.direction), "text"],
    ["Anchor", null, setup.anchor_t, "at"],
    ["Peak of the gap", null, setup.peak_t, "at"],
    ["Reset", null, RESETS[setup.reset_type] ?? null, "text"],
    ["Gap", "view.setup.gap", setup.gap, "z"],
    ["Gap closed", "view.setup.closed", setup.closed, "share"],
    ["Extreme", "view.setup.extreme_price", setup.extreme_price, "price"],
    ["Tests of it", "view.setup.tests", setup.tests, "int"],
    ["Open interest", "view.setup.oi_z", setup.oi_z, "z", setup.oi_state.toLowerCase()],
  ]];
}

function showFacts(view) {
  const [name, rows] = factsOf(view);
  factsHead.parentElement.hidden = rows.length === 0;
  mark(factsHead.parentElement, "held", view.position !== null);
  say(factsHead, name);
  fill(facts, rows);
  fill(feed, [
    ["Coverage", "view.coverage", view.coverage, "share"],
    ["As of", null, view.t, "at"],
    ["Its spot CVD", "view.c_spot", view.c_spot, "usd"],
    ["Its perp CVD", "view.c_perp", view.c_perp, "usd"],
  ]);
}

function fill(list, rows) {
  keyed(list, rows, ([label]) => label, ([label]) => {
    const value = make("b");
    const note = make("span", { className: "soft" });
    return Object.assign(make("div", {}, make("dt", { textContent: label }),
      make("dd", {}, value, note)), { value, note });
  }, (row, [, at, value, kind, words = ""]) => {
    if (kind === "at") say(row.value, value === null ? "\u2013" : clock(value * 1000));
    else if (at) figure(row.value, at, value, kind);
    else say(row.value, format.show(value, kind));
    say(row.note, words ? ` ${words}` : "");
    for (const side of ["long", "short"]) mark(row.value, side, value === side);
  });
}
