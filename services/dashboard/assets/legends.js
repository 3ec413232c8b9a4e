import { make, say } from "./dom.js";
import { COLORS, PANES } from "./panes.js";

/** A line of words at the top of each pane: its title and the values at the crosshair. */

const TITLES = { price: "Price", cvd: "CVD", gap: "Divergence", oi: "Open interest",
  liq: "Liquidations" };
const VALUES = {
  price: [["O", "open", "price"], ["H", "high", "price"], ["L", "low", "price"],
    ["C", "close", "price"], ["Vol", "volume", "usd"]],
  cvd: [["spot", "cumSpot", "usd", COLORS.spot], ["perp", "cumPerp", "usd", COLORS.perp]],
  gap: [["", "gap", "z"]],
  oi: [["", "oi", "coins", COLORS.oi]],
  liq: [["\u25b2 forced buys", "lbuy", "usd", COLORS.up],
    ["\u25bc forced sells", "lsell", "usd", COLORS.down]],
};

export class Legends {
  /** Puts the boxes into `element`; `chart` says where the panes are. */
  constructor(element, chart) {
    this.element = element;
    this.chart = chart;
    this.boxes = PANES.map(({ id }) => this.#box(id));
  }

  #box(id) {
    const values = VALUES[id].map(([name, field, kind, color]) => {
      const shown = make("b");
      if (color) shown.style.color = color;
      return { field, kind, shown, span: make("span", {}, name ? `${name} ` : "", shown) };
    });
    const title = make("b", { className: "title", textContent: TITLES[id] });
    const note = make("span", { className: "note" });
    const box = make("div", { className: "legend", attributes: { "aria-hidden": "true" } },
      title, ...values.map(({ span }) => span), note);
    this.element.append(box);
    return { id, box, note, title, values };
  }

  /** Words after the values of a pane. */
  note(id, words) {
    say(this.boxes.find((each) => each.id === id).note, words);
  }

  title(id, words) {
    say(this.boxes.find((each) => each.id === id).title, words);
  }

  place() {
    const top = this.element.getBoundingClientRect().top;
    this.chart.panes().forEach((pane, i) => {
      const row = pane.getHTMLElement();
      if (row) this.boxes[i].box.style.top = `${Math.round(row.getBoundingClientRect().top - top) + 4}px`;
    });
  }

  /** The values of one bar, by field. */
  show(row) {
    for (const { values } of this.boxes) {
      for (const { field, kind, shown } of values) {
        const value = row[field];
        say(shown, format.show(Number.isFinite(value) ? value : null, kind));
      }
    }
  }
}
