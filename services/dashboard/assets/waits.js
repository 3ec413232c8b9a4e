import { carry, figure, keyed, make, mark, say, share } from "./dom.js";

/** What stands between the symbol and its next step, each condition with what is there and needed. */

const KINDS = { z: "z", ranges: "num", share: "share", points: "points", s: "int", min: "int",
  price: "price", log: "share", slots: "int", signals: "int" };
const UNITS = { z: "", ranges: " ranges", share: "", points: "", s: " s", min: " min", price: "",
  log: "", slots: "", signals: "" };
const WAYS = {
  A: "Reset by calming down", B: "or reset in a burst", RANGE_BREAK: "Price breaks the range",
  FLOW_REVERSAL: "Spot flow reverses", FLOW_REVERSAL_GIVEBACK: "Spot flow is given back",
  LTF_INVALIDATION: "The hours turn against it", CVD_TREND: "Both CVDs turn against it",
  DATA_LOSS: "Data are lost", MAX_HOLD: "Time is up",
};
const TITLES = { step: "Why not yet", guard: "Goes on only while", entry: "Entries" };

export class Waits {
  constructor() {
    this.head = make("h3");
    this.groups = make("div");
    this.element = make("section", { className: "waits-box" }, this.head, this.groups);
  }

  show(view) {
    const leaving = view.state === "IN_POSITION";
    const steps = view.waits.filter(({ kind }) => kind === "step");
    const open = steps.filter(({ met }) => !met).length;
    say(this.head, leaving ? "What would end it" : !steps.length ? "Nothing to wait for"
      : open ? "Why not yet" : "All conditions hold");
    keyed(this.groups, grouped(view.waits, leaving), ({ id }) => id, createGroup, showGroup);
  }
}

/** The conditions by kind and way; what is in the way stands first. */
function grouped(waits, leaving) {
  const groups = new Map();
  for (const wait of waits) {
    if (wait.kind === "points") continue;
    const id = `${wait.kind}.${wait.way}`;
    if (!groups.has(id)) groups.set(id, { id, kind: wait.kind, way: wait.way, waits: [] });
    groups.get(id).waits.push(wait);
  }
  const rank = { entry: 0, step: 1, guard: 2 };
  const met = ({ waits: each }) => each.filter((wait) => wait.met).length / each.length;
  const list = [...groups.values()].filter(({ kind, waits: each }) => kind !== "entry"
    || each.some((wait) => !wait.met));
  for (const group of list) {
    if (group.kind === "entry") group.waits = group.waits.filter((wait) => !wait.met);
  }
  return list.sort((a, b) => rank[a.kind] - rank[b.kind] || (leaving ? met(b) - met(a) : 0));
}

function createGroup({ kind, way }) {
  const words = way ? WAYS[way] ?? way : TITLES[kind];
  const count = make("span", { className: "count" });
  const list = make("ul", { className: `waits ${kind}` });
  const head = make(kind === "guard" ? "summary" : "h4", { hidden: kind === "step" && !way },
    make("span", { textContent: words }), count);
  const group = make(kind === "guard" ? "details" : "div", { className: "wait-group" }, head, list);
  return Object.assign(group, { list, count });
}

function showGroup(element, { kind, waits }) {
  const met = waits.filter((wait) => wait.met).length;
  say(element.count, `${met} of ${waits.length} hold`);
  const alarm = kind === "guard" && met < waits.length;
  if (alarm && !element.alarm) element.open = true;
  element.alarm = alarm;
  keyed(element.list, waits, ({ code }) => code, createWait, showWait);
}

function createWait() {
  const parts = {
    sign: make("i", { className: "sign", attributes: { "aria-hidden": "true" } }),
    word: make("span", { className: "unseen" }),
    words: make("span", { className: "words" }),
    have: make("b"),
    need: make("span", { className: "needs" }),
    level: make("i", { className: "level", attributes: { "aria-hidden": "true" } }),
    goal: make("i", { className: "goal", attributes: { "aria-hidden": "true" } }),
  };
  parts.bar = make("div", { className: "gauge" }, parts.level, parts.goal);
  parts.values = make("span", { className: "values" }, parts.have, parts.need);
  return Object.assign(make("li", {}, parts.sign, parts.word, parts.words, parts.values, parts.bar),
    { parts });
}

function showWait(row, wait) {
  const { parts } = row;
  const at = `view.waits.${wait.kind}.${wait.way}.${wait.code}`;
  const compared = wait.have !== null && wait.need !== null;
  mark(row, "met", wait.met);
  say(parts.word, wait.met ? "holds: " : "missing: ");
  // The words before the colon name the condition; its figures stand beside it.
  const colon = wait.text.indexOf(": ");
  const held = wait.code === "held";
  say(parts.words, !compared ? wait.text : held ? "held in a row" : colon > 0
    ? wait.text.slice(0, colon) : wait.text);
  row.title = wait.text;
  const shown = compared && (colon > 0 || held);
  parts.values.hidden = !shown;
  parts.bar.hidden = !(compared && wait.bound === "least" && wait.need > 0);
  if (!compared) return;
  const kind = KINDS[wait.unit] ?? "num";
  if (shown) {
    figure(parts.have, `${at}.have`, wait.have, kind);
    figure(parts.need, `${at}.need`, wait.need, kind === "z" ? "points" : kind, UNITS[wait.unit] ?? "");
    parts.need.dataset.bound = wait.bound;
  } else {
    carry(parts.level, `${at}.have`, wait.have);
    carry(parts.goal, `${at}.need`, wait.need);
  }
  // Full at what is needed.
  share(parts.level, wait.have, wait.need);
}

