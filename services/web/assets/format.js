"use strict";

/** Numbers and times for people. Every function takes null for a value that is not known. */
const format = (() => {
  const NONE = "\u2013";
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const two = (n) => String(n).padStart(2, "0");
  const minus = (text) => text.replace("-", "\u2212");
  // Making a formatter costs far more than using it.
  const formatters = Array.from({ length: 11 }, (_, digits) => new Intl.NumberFormat("en-US", {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  }));
  const grouped = (v, digits) => minus(formatters[digits].format(v));
  const signed = (v, text) => (v > 0 ? "+" : "") + text;

  function price(v) {
    const size = Math.abs(v);
    if (size === 0) return "0";
    return grouped(v, Math.min(10, Math.max(0, (size >= 1000 ? 5 : 4)
      - Math.floor(Math.log10(size)))));
  }

  function compact(v) {
    const size = Math.abs(v);
    for (const [limit, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
      if (size >= limit) {
        const scaled = v / limit;
        return minus(scaled.toFixed(Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2))
          + unit;
      }
    }
    return minus(v.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2));
  }

  function duration(s) {
    if (s < 60) return `${Math.round(s)} s`;
    const minutes = Math.round(s / 60);
    if (minutes < 60) return `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    if (hours < 48) return `${hours} h ${two(minutes % 60)}`;
    return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  }

  function day(t) {
    const d = new Date(t * 1000);
    return `${MONTHS[d.getUTCMonth()]} ${two(d.getUTCDate())}`;
  }

  function clock(t) {
    const d = new Date(t * 1000);
    return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
  }

  const KINDS = {
    text: (v) => String(v),
    wrap: (v) => String(v),
    int: (v) => grouped(v, 0),
    num: (v) => grouped(v, 2),
    z: (v) => signed(v, minus(v.toFixed(2))),
    points: (v) => minus(v.toFixed(2)),
    price,
    usd: (v) => compact(v),
    money: (v) => signed(v, grouped(v, 2)),
    amount: (v) => grouped(v, 2),
    times: (v) => `${Number(v.toFixed(2))}\u00d7`,
    coins: (v) => (Math.abs(v) < 1e6 ? grouped(v, Math.abs(v) < 1e4 ? 1 : 0) : compact(v)),
    pct: (v) => `${signed(v, minus((100 * v).toFixed(2)))} %`,
    share: (v) => `${minus((100 * v).toFixed(Math.abs(v) < 0.1 && v !== 0 ? 2 : 1))} %`,
    time: (v) => `${day(v)} ${clock(v)}`,
    duration,
  };

  /** `value` as text of `kind`: money and percentages of gains carry a sign. */
  function show(value, kind) {
    return value === null || value === undefined ? NONE : KINDS[kind](value);
  }

  /** From and to, UTC seconds, as short as they can be told apart. */
  function range(from, to) {
    const same = day(from) === day(to);
    return `${day(from)} ${clock(from).slice(0, 5)} \u2013 `
      + `${same ? "" : `${day(to)} `}${clock(to).slice(0, 5)} UTC  (${duration(to - from)})`;
  }

  return { show, range, isText: (kind) => kind === "text" || kind === "wrap" };
})();
