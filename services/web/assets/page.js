"use strict";

/** Builds the page from the document embedded in it. */
(() => {
  const page = JSON.parse(document.getElementById("document").textContent);
  const chartElement = document.querySelector(".chart");
  const seenElement = document.querySelector(".seen");
  let shown = 0;
  let chart = null;
  let chosen = -1;

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function figures() {
    const list = document.querySelector(".figures");
    for (const { label, value, kind, tone, note } of page.figures) {
      const shownValue = make("dd", { className: tone, textContent: format.show(value, kind) });
      if (note) shownValue.append(make("span", { className: "note", textContent: note }));
      list.append(make("div", { className: "figure" },
        make("dt", { textContent: label, title: label }), shownValue));
    }
  }

  function warnings() {
    const list = document.querySelector(".warnings");
    list.hidden = page.warnings.length === 0;
    page.warnings.forEach((text) => list.append(make("li", { textContent: text })));
  }

  function open(i) {
    if (chart) chart.remove();
    shown = i;
    chart = marketChart(chartElement, page.markets[i], seenElement);
    const choice = document.querySelector(".bar select");
    if (choice) choice.value = String(i);
  }

  function toolbar() {
    const bar = document.querySelector(".bar");
    if (page.markets.length > 1) {
      const choice = make("select", { ariaLabel: "Market" });
      page.markets.forEach((market, i) => choice.append(
        make("option", { value: String(i), textContent: market.name })));
      choice.addEventListener("change", () => { select(-1, false); open(Number(choice.value)); });
      bar.prepend(choice);
    }
    const buttons = make("span");
    const { count, step } = page.markets[0];
    for (const [name, seconds] of [["1h", 3600], ["4h", 14400], ["1d", 86400]]) {
      if (seconds >= count * step * 0.9) continue;
      buttons.append(make("button", { type: "button", textContent: name,
        title: `Show ${name}`, onclick: () => chart.span(seconds) }), " ");
    }
    buttons.append(make("button", { type: "button", textContent: "All", title: "Show everything",
      onclick: () => chart.showAll() }));
    seenElement.before(buttons);
    const keys = make("span", { className: "keys", ariaLabel: "Colours of the phases" });
    const used = new Set(page.markets.flatMap((m) => m.spans.map((span) => span.phase)));
    for (const [phase, { color, name }] of Object.entries(drawing.PHASES)) {
      if (!used.has(phase)) continue;
      const box = make("i");
      box.style.background = color;
      keys.append(make("span", {}, box, name));
    }
    seenElement.before(keys);
  }

  /** A list of rows that can be sorted by any column; rows of trades lead to the chart. */
  function table({ title, note, columns, rows, jumps, empty, groups, wide }) {
    const section = make("section", {}, make("h2", { textContent: title }));
    if (note) section.firstChild.append(make("small", { textContent: note }));
    if (!rows.length) {
      section.append(make("div", { className: "empty", textContent: empty }));
      return section;
    }
    const body = make("tbody");
    const lines = rows.map((row, i) => line(row, i, columns, jumps));
    const order = rows.map((_, i) => i);
    const head = make("tr");
    columns.forEach((column, c) => {
      const heading = make("th", { scope: "col", className: column.kind, title: column.hint });
      if (groups) {
        heading.textContent = column.label;
      } else {
        heading.append(make("button", { type: "button", textContent: column.label,
          onclick: () => sort(heading, c) }));
      }
      head.append(heading);
    });

    function sort(heading, c) {
      const down = heading.getAttribute("aria-sort") === "descending";
      head.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "ascending" : "descending");
      const sign = down ? 1 : -1;
      const missing = (v) => v === null || v === undefined;
      order.sort((a, b) => {
        const [one, other] = [rows[a][c], rows[b][c]];
        if (missing(one) || missing(other)) return missing(one) - missing(other) || a - b;
        return (one < other ? -1 : one > other ? 1 : 0) * sign || a - b;
      });
      body.append(...order.map((i) => lines[i]));
    }

    lines.forEach((each, i) => {
      if (groups && groups[i]) {
        body.append(make("tr", { className: "group" },
          make("th", { colSpan: columns.length, scope: "rowgroup", textContent: groups[i] })));
      }
      body.append(each);
    });
    const scroll = make("div", { className: "scroll", tabIndex: 0, role: "region",
      ariaLabel: title });
    if (wide) scroll.style.maxHeight = "none";
    scroll.append(make("table", {}, columns.some((c) => c.label) ? make("thead", {}, head) : "", body));
    section.append(scroll);
    return section;
  }

  function line(row, i, columns, jumps) {
    const element = make("tr");
    columns.forEach((column, c) => {
      const { kind, tone } = column;
      const value = row[c];
      const classes = [format.isText(kind) ? "text" : "", kind === "wrap" ? "wrap" : ""];
      if (tone && value) classes.push(value > 0 || value === "yes" ? "good" : "bad");
      element.append(make("td", { className: classes.join(" ").trim(),
        textContent: format.show(value, kind) }));
    });
    if (jumps) {
      element.className = "jump";
      element.tabIndex = 0;
      element.dataset.jump = i;
      element.addEventListener("click", () => select(i, true));
      element.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        select(i, true);
      });
    }
    return element;
  }

  /** Choose trade `i` of the page, -1 none; `look`: bring the chart into view. */
  function select(i, look) {
    chosen = i;
    document.querySelectorAll("tr[data-jump]").forEach((row) => {
      row.setAttribute("aria-selected", String(Number(row.dataset.jump) === i));
    });
    if (i < 0) {
      chart.choose(-1);
      return;
    }
    const [market, trade] = page.jumps[i];
    if (market !== shown) open(market);
    chart.choose(trade);
    if (!look) return;
    const { top, bottom } = chartElement.getBoundingClientRect();
    if (top < -40 || bottom > window.innerHeight + 200) {
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      chartElement.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
    }
  }

  function step(by) {
    const count = page.jumps.length;
    if (count) select(chosen < 0 ? (by > 0 ? 0 : count - 1) : (chosen + by + count) % count, true);
  }

  const ON_CHART = {
    ArrowLeft: () => chart.pan(-0.1),
    ArrowRight: () => chart.pan(0.1),
    "+": () => chart.zoom(0.7),
    "=": () => chart.zoom(0.7),
    "-": () => chart.zoom(1.4),
  };
  const ANYWHERE = {
    n: () => step(1),
    p: () => step(-1),
    0: () => chart.showAll(),
    Escape: () => select(-1, false),
  };

  function keyboard() {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
      const act = (event.target === chartElement && ON_CHART[event.key]) || ANYWHERE[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  figures();
  warnings();
  toolbar();
  for (const [side, name] of [["left", "column"], ["right", "column narrow"]]) {
    document.querySelector(".tables").append(make("div", { className: name },
      ...page.tables.filter((each) => each.side === side).map(table)));
  }
  keyboard();
  open(0);
  window.addEventListener("beforeprint", () => {
    document.querySelector(".printed").src = chart.picture();
  });
  document.documentElement.dataset.ready = "true";
})();
