import { byId, make } from "./dom.js";

/** The keys of the page, the search for a symbol, and the list of both. */

const KEYS = [
  ["1 \u2026 9", "symbol of that number"],
  ["[ ]", "symbol before, after"],
  ["/", "search a symbol"],
  [", .", "shorter, longer bars"],
  ["d", "window of the divergence"],
  ["\u2190 \u2192", "move the chart"],
  ["+ \u2212", "zoom the chart"],
  ["0", "the last four hours"],
  ["End", "back to now"],
  ["p s", "positions, signals"],
  ["v", "venues: next view"],
  ["Esc", "close, leave"],
  ["?", "this list"],
];

/** `acts`: key -> function. Keys with a modifier, and those typed into a field, are left alone. */
export function startKeys(acts) {
  byId("help-keys").replaceChildren(...KEYS.flatMap(([keys, does]) => [
    make("dt", {}, ...keys.split(" ").map((key) => (key === "\u2026" ? " \u2026 "
      : make("kbd", { textContent: key })))), make("dd", { textContent: does })]));
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") || event.target.matches("input, select, textarea")) return;
    const act = acts[event.key];
    // Arrows and the like scroll what has the focus, unless that is the chart.
    const scrolls = ["ArrowLeft", "ArrowRight", "End", "Home"].includes(event.key);
    if (!act || (scrolls && !byId("chart").contains(event.target) && event.target !== document.body)) {
      return;
    }
    event.preventDefault();
    act();
  });
}

/** The dialog that finds a symbol by its letters. `symbols()`: all; `choose(symbol)`. */
export function startSearch(symbols, choose) {
  const dialog = byId("search");
  const field = byId("search-text");
  const list = byId("search-list");

  function found() {
    const letters = field.value.trim().toUpperCase();
    const all = symbols();
    return [...all.filter((name) => name.startsWith(letters)),
      ...all.filter((name) => !name.startsWith(letters) && name.includes(letters))];
  }

  function offer() {
    const names = found();
    list.replaceChildren(...names.slice(0, 12).map((name) => make("li", {}, make("button", {
      type: "button", textContent: name, onclick: () => take(name) }))));
    if (!names.length) list.append(make("li", { className: "soft", textContent: "No such symbol here." }));
  }

  function take(name) {
    dialog.close();
    choose(name);
  }

  field.addEventListener("input", offer);
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const [first] = found();
    if (first) take(first);
  });
  return () => {
    field.value = "";
    offer();
    dialog.showModal();
    field.focus();
  };
}
