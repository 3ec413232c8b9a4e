import { brief, stale } from "./ages.js";
import { byId, figure, keyed, make, mark, say, share, tone } from "./dom.js";
import { base, sideName, stateName } from "./phases.js";

/** All symbols in a list: price, change, phase, score. A press or a key watches one. */

const VIEW_OLD_MS = 5_000;

export class Board {
  constructor(list, choose) {
    this.list = list;
    this.choose = choose;
    this.rows = [];
  }

  update(rows, watched) {
    this.rows = rows;
    if (!rows.length) return;
    if (!this.list.querySelector("[data-symbol]")) this.list.replaceChildren();
    const numbered = rows.map((row, i) => ({ row, number: i + 1 }));
    keyed(this.list, numbered, ({ row }) => row.symbol, ({ row }) => this.#create(row.symbol),
      (element, { row, number }) => change(element, row, number, row.symbol === watched));
  }

  #create(symbol) {
    const parts = {
      number: make("kbd", { attributes: { "aria-hidden": "true" } }),
      name: make("b", { className: "name", textContent: base(symbol) }),
      price: make("span", { className: "price" }),
      state: make("span", { className: "state" }),
      score: make("span", { className: "score" }),
      move: make("span", { className: "move" }),
      bar: make("i", { className: "meter", attributes: { "aria-hidden": "true" } }),
    };
    const button = make("button", { type: "button", onclick: () => this.choose(symbol) },
      ...Object.values(parts));
    return Object.assign(make("li", { data: { symbol } }, button), { parts, button });
  }
}

function change({ parts, button }, row, number, watched) {
  const at = `board.${row.symbol}`;
  say(parts.number, number < 10 ? String(number) : "");
  figure(parts.price, `${at}.price`, row.price, "price");
  figure(parts.move, `${at}.change_4h`, row.change_4h, "pct");
  tone(parts.move, row.change_4h ?? 0);
  const old = row.age_ms === null || row.age_ms > VIEW_OLD_MS;
  const side = sideName(row.direction);
  say(parts.state, row.age_ms === null ? "not watched" : old ? `${stateName(row.state)}, old`
    : stateName(row.state));
  for (const name of ["long", "short"]) mark(parts.state, name, side === name);
  parts.state.dataset.state = row.state;
  figure(parts.score, `${at}.score`, row.score, "points");
  mark(parts.score, "none", row.score === null);
  share(parts.bar, row.score ?? 0, 10);
  mark(button, "old", old);
  button.title = `${row.symbol}: view ${row.age_ms === null ? "never came" : `${brief(row.age_ms)} old`}`
    + (number < 10 ? ` (key ${number})` : "");
  button.setAttribute("aria-current", String(watched));
}

/** The line at the top: the watched symbol, its price, phase and score. */
export function headline(row, symbol) {
  const name = byId("symbol").firstElementChild;
  say(name, symbol || "\u2013");
  const price = byId("price");
  figure(price, "price", row?.price ?? null, "price");
  const move = byId("change");
  figure(move, "change_4h", row?.change_4h ?? null, "pct", " 4h");
  tone(move, row?.change_4h ?? 0);
  const old = stale("board");
  for (const element of [price, move]) mark(element, "old", old);
  const pill = byId("phase-now").firstElementChild;
  const side = sideName(row?.direction ?? 0);
  say(pill, row?.state ? `${stateName(row.state)}${side ? ` ${side}` : ""}` : "\u2013");
  pill.dataset.state = row?.state ?? "";
  for (const each of ["long", "short"]) mark(pill, each, side === each);
  mark(pill, "old", old || row?.age_ms === null || row?.age_ms > VIEW_OLD_MS);
  figure(byId("score-now").lastElementChild, "score", row?.score ?? null, "points");
  mark(byId("score-now").lastElementChild, "old", old);
  mark(byId("score-now"), "none", (row?.score ?? null) === null);
}

export function title(row, symbol, live) {
  if (!symbol) return "SqueezeFlow";
  const side = row?.direction > 0 ? " \u25b2" : row?.direction < 0 ? " \u25bc" : "";
  const price = format.show(row?.price ?? null, "price");
  return `${live ? "" : "(no data) "}${price}${side} ${base(symbol)} \u00b7 `
    + `${stateName(row?.state ?? "")} \u00b7 SqueezeFlow`;
}
