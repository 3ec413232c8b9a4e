"use strict";

/** What is drawn on the panels besides the library's own series. Times are UTC seconds. */
const drawing = (() => {
  const PHASES = {
    WARMUP: { color: "#39414e", name: "warm-up" },
    WATCHING: { color: "#1b222d", name: "watching" },
    DIVERGENCE: { color: "#d9a521", name: "divergence" },
    RESET: { color: "#c061cb", name: "reset" },
    ENTRY_READY: { color: "#f5f7fa", name: "entry ready" },
    IN_POSITION: { color: "#4cb5f5", name: "in position" },
    CLOSING: { color: "#f0883e", name: "closing" },
    COOLDOWN: { color: "#4a5568", name: "cooldown" },
  };
  const SETUP = new Set(["DIVERGENCE", "RESET", "ENTRY_READY"]);
  const MIN_LABEL_PX = 66;

  /** A drawing of the library's kind: `paint` gets a canvas in CSS pixels and its size. */
  function layer(paint, below) {
    let attached = null;
    const renderer = {
      draw: (target) => target.useMediaCoordinateSpace(({ context, mediaSize }) => {
        context.save();
        paint(context, mediaSize, attached);
        context.restore();
      }),
    };
    const views = [{ zOrder: () => (below ? "bottom" : "top"), renderer: () => renderer }];
    return {
      attached: (given) => { attached = given; },
      detached: () => { attached = null; },
      paneViews: () => views,
      repaint: () => { if (attached) attached.requestUpdate(); },
    };
  }

  /** Time -> x. The axis is regular, so times between two bars have a place as well. */
  function abscissa(chart, start, step) {
    const scale = chart.timeScale();
    return (t) => {
      const from = scale.logicalToCoordinate(0);
      const to = scale.logicalToCoordinate(1);
      // A bar stands at its middle, its label is its first second.
      return from === null || to === null ? null
        : from + ((t - start) / step - 0.5) * (to - from);
    };
  }

  const visible = (a, b, width) => a !== null && b !== null && b >= 0 && a <= width;

  /** The coloured strip of phases. */
  function strip(spans, x) {
    return layer((context, { width, height }) => {
      context.font = "10.5px system-ui, sans-serif";
      context.textBaseline = "middle";
      for (const span of spans) {
        const a = x(span.from);
        const b = x(span.to);
        if (!visible(a, b, width)) continue;
        const left = Math.max(0, a);
        const right = Math.min(width, Math.max(b, a + 1));
        context.fillStyle = PHASES[span.phase].color;
        context.fillRect(left, 3, right - left, height - 6);
        if (right - left < MIN_LABEL_PX) continue;
        const active = SETUP.has(span.phase) || ["IN_POSITION", "CLOSING"].includes(span.phase);
        const arrow = !active || !span.direction ? "" : span.direction > 0 ? "\u25b2 " : "\u25bc ";
        context.fillStyle = active ? "#0b0e13" : "#8b96a8";
        context.fillText(arrow + PHASES[span.phase].name, left + 6, height / 2 + 1);
      }
    }, false);
  }

  /** Shades the times of setups, and between two lines the gap that makes them. */
  function divergence(spans, x, lines, chart) {
    return layer((context, { width, height }) => {
      for (const span of spans) {
        if (!SETUP.has(span.phase)) continue;
        const a = x(span.from);
        const b = x(span.to);
        if (!visible(a, b, width)) continue;
        context.fillStyle = span.phase === "DIVERGENCE" ? "rgba(217,165,33,.07)"
          : "rgba(192,97,203,.09)";
        context.fillRect(a, 0, Math.max(1, b - a), height);
        if (lines) between(context, span, a, b, lines, chart);
      }
    }, true);
  }

  function between(context, span, a, b, [one, other], chart) {
    const scale = chart.timeScale();
    const points = [];
    const from = Math.max(0, Math.floor(scale.coordinateToLogical(a)));
    const to = Math.min(one.values.length - 1, Math.ceil(scale.coordinateToLogical(b)));
    for (let i = from; i <= to; i += 1) {
      if (one.values[i] === null || other.values[i] === null) continue;
      const top = one.series.priceToCoordinate(one.values[i]);
      const bottom = other.series.priceToCoordinate(other.values[i]);
      if (top !== null && bottom !== null) points.push([scale.logicalToCoordinate(i), top, bottom]);
    }
    if (points.length < 2) return;
    context.beginPath();
    points.forEach(([px, top]) => context.lineTo(px, top));
    points.reverse().forEach(([px, , bottom]) => context.lineTo(px, bottom));
    context.closePath();
    context.fillStyle = span.direction >= 0 ? "rgba(76,181,245,.16)" : "rgba(240,136,62,.16)";
    context.fill();
  }

  /** Below a long entry, above a short one, so that it does not hide among the candles. */
  function triangle(context, px, py, size, up) {
    const away = up ? 1 : -1;
    context.beginPath();
    context.moveTo(px, py + away * 4);
    context.lineTo(px - size, py + away * (4 + size * 1.7));
    context.lineTo(px + size, py + away * (4 + size * 1.7));
    context.closePath();
    context.fill();
    context.stroke();
  }

  /** Entries (triangles), exits (crosses in a ring) and what lies between; shape tells the side. */
  function trades(list, x, theme, chosen) {
    return layer((context, { width }, { series }) => {
      const { up, down, text, panel } = theme();
      const size = list.length > 200 ? 4 : 7;
      list.forEach((trade, i) => {
        const a = x(trade.from);
        const b = trade.to === null ? null : x(trade.to);
        if (!visible(a, b ?? a, width)) return;
        const entry = series.priceToCoordinate(trade.entry);
        if (entry === null) return;
        context.strokeStyle = context.fillStyle = trade.side > 0 ? up : down;
        if (b !== null && trade.exit !== null) {
          const exit = series.priceToCoordinate(trade.exit);
          context.lineWidth = i === chosen() ? 2.5 : 1.2;
          context.setLineDash([4, 3]);
          context.beginPath();
          context.moveTo(a, entry);
          context.lineTo(b, exit);
          context.stroke();
          context.setLineDash([]);
          cross(context, b, exit, size * 0.62, trade.won === false ? down : up, panel);
          context.fillStyle = trade.side > 0 ? up : down;
        }
        context.strokeStyle = text;
        context.lineWidth = list.length > 200 ? 0.5 : 1.2;
        triangle(context, a, entry, size, trade.side > 0);
        if (i === chosen()) {
          label(context, trade.text, a, entry + trade.side * 34, text, panel, width);
        }
      });
    }, false);
  }

  function cross(context, px, py, size, color, back) {
    context.beginPath();
    context.arc(px, py, size * 1.5, 0, 2 * Math.PI);
    context.fillStyle = back;
    context.fill();
    context.strokeStyle = color;
    context.lineWidth = 1.5;
    context.stroke();
    context.beginPath();
    context.moveTo(px - size * 0.6, py - size * 0.6);
    context.lineTo(px + size * 0.6, py + size * 0.6);
    context.moveTo(px - size * 0.6, py + size * 0.6);
    context.lineTo(px + size * 0.6, py - size * 0.6);
    context.stroke();
  }

  function label(context, words, px, py, color, back, limit = Infinity) {
    if (!words) return;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const width = context.measureText(words).width;
    const left = Math.max(4, Math.min(px - width / 2, limit - width - 6));
    context.fillStyle = back;
    context.globalAlpha = 0.85;
    context.fillRect(left - 4, py - 9, width + 8, 18);
    context.globalAlpha = 1;
    context.fillStyle = color;
    context.fillText(words, left, py);
  }

  /** Vertical lines with names at the top: anchor, peak, decision. */
  function moments(list, x, theme, named) {
    return layer((context, { width, height }) => {
      const { soft, text, panel } = theme();
      context.lineWidth = 1;
      const places = list.map((moment) => x(moment.t));
      list.forEach((moment, i) => {
        const px = places[i];
        if (px === null || px < 0 || px > width) return;
        context.strokeStyle = soft;
        context.setLineDash([2, 4]);
        context.beginPath();
        context.moveTo(px, 0);
        context.lineTo(px, height);
        context.stroke();
        context.setLineDash([]);
        if (named) label(context, moment.name, px, height - 14 - 20 * (i % 4), text, panel);
      });
    }, false);
  }

  /** Horizontal lines of limited length: invalidation, reset extreme. */
  function levels(list, x, theme) {
    return layer((context, { width }, { series }) => {
      const { soft, text, panel } = theme();
      for (const level of list) {
        const a = x(level.from);
        const b = x(level.to);
        const y = series.priceToCoordinate(level.price);
        if (!visible(a, b, width) || y === null) continue;
        context.strokeStyle = level.strong ? text : soft;
        context.lineWidth = level.strong ? 1.5 : 1;
        context.setLineDash(level.strong ? [] : [6, 4]);
        context.beginPath();
        context.moveTo(Math.max(0, a), y);
        context.lineTo(Math.min(width, b), y);
        context.stroke();
        context.setLineDash([]);
        // At opposite ends, because both lie close together.
        const at = level.strong ? Math.min(width, b) - 50 : a - 50;
        label(context, level.name, Math.max(50, at), y, text, panel);
      }
    }, false);
  }

  return { PHASES, layer, label, abscissa, strip, divergence, trades, moments, levels };
})();
