"use strict";

/** The panels of one market over one time axis, with a crosshair that speaks. */
function marketChart(element, market, seenElement) {
  const lib = LightweightCharts;
  const style = getComputedStyle(element);
  const theme = () => Object.fromEntries(["back", "panel", "line", "text", "soft", "up", "down"]
    .map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  const COLORS = { spot: "#f2cc60", perp: "#b48ef2", oi: "#7f9bb8", equity: "#6fdcb4",
    drawdown: "#f0883e", plain: "#d5dbe5" };
  const last = market.start + (market.count - 1) * market.step;
  const time = (i) => market.start + i * market.step;
  const legends = [];
  let chosen = -1;

  const chart = lib.createChart(element, { ...look(), autoSize: true });
  const x = drawing.abscissa(chart, market.start, market.step);
  const scale = chart.timeScale();
  const layers = [];

  function look() {
    const { panel, line, soft } = theme();
    return {
      layout: {
        background: { type: "solid", color: panel }, textColor: soft, fontSize: 11,
        attributionLogo: true, panes: { separatorColor: line, separatorHoverColor: line },
      },
      grid: { vertLines: { color: `${line}66` }, horzLines: { color: `${line}66` } },
      crosshair: { mode: lib.CrosshairMode.Normal },
      localization: { locale: "en-US", timeFormatter: (t) => `${format.show(t, "time")} UTC` },
      timeScale: { timeVisible: true, secondsVisible: market.step < 60, borderColor: line,
        rightOffset: 2, minBarSpacing: 0.02 },
      rightPriceScale: { borderColor: line, minimumWidth: 74 },
      leftPriceScale: { visible: true, borderColor: line, minimumWidth: 62 },
      handleScroll: { vertTouchDrag: false },
    };
  }

  function attach(series, primitive) {
    series.attachPrimitive(primitive);
    layers.push(primitive);
  }

  function addCandles(panel, index) {
    const { up, down } = theme();
    const series = chart.addSeries(lib.CandlestickSeries, {
      upColor: up, wickUpColor: up, borderUpColor: up,
      downColor: "#10141b", wickDownColor: down, borderDownColor: down,
      priceLineVisible: false, lastValueVisible: true, priceFormat: priceFormat("price"),
    }, index);
    const { open, high, low, close } = panel.candles;
    series.setData(close.map((value, i) => (value === null ? { time: time(i) } : {
      time: time(i), open: open[i], high: high[i], low: low[i], close: value,
    })));
    series.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.1 } });
    legends.push({ index, name: "O H L C", kind: "price", color: "",
      read: (i) => [open[i], high[i], low[i], close[i]] });
    return series;
  }

  function priceFormat(kind) {
    return { type: "custom", minMove: 1e-10, formatter: (v) => format.show(v, kind) };
  }

  function addLine(line, index) {
    const color = COLORS[line.color];
    const common = { priceScaleId: line.axis, priceLineVisible: false, lastValueVisible: true,
      crosshairMarkerRadius: 3, lineWidth: 1.5, priceFormat: priceFormat(line.kind) };
    const series = line.area
      ? chart.addSeries(lib.AreaSeries, { ...common, lineColor: color, topColor: `${color}10`,
        bottomColor: `${color}44`, invertFilledArea: line.area === "below" }, index)
      : chart.addSeries(lib.LineSeries, { ...common, color,
        lineType: line.steps ? lib.LineType.WithSteps : lib.LineType.Simple }, index);
    series.setData(line.values.map((value, i) => (
      value === null ? { time: time(i) } : { time: time(i), value })));
    series.priceScale().applyOptions({ scaleMargins: { top: 0.16, bottom: 0.08 },
      visible: true, borderColor: theme().line });
    legends.push({ index, name: line.name, kind: line.kind, color,
      read: (i) => [line.values[i]] });
    return { series, values: line.values };
  }

  function addStrip(index) {
    const series = chart.addSeries(lib.LineSeries, { lineVisible: false, priceLineVisible: false,
      lastValueVisible: false, crosshairMarkerVisible: false,
      priceFormat: { type: "custom", minMove: 1, formatter: () => "" } }, index);
    series.setData([{ time: market.start, value: 0 }, { time: last, value: 0 }]);
    attach(series, drawing.strip(market.spans, x));
  }

  function addPanel(panel, index) {
    const lines = panel.lines.map((line) => addLine(line, index));
    if (panel.strip) addStrip(index);
    if (panel.candles) {
      const series = addCandles(panel, index);
      attach(series, drawing.divergence(market.spans, x, null, chart));
      attach(series, drawing.moments(market.moments, x, theme, true));
      attach(series, drawing.levels(market.levels, x, theme));
      attach(series, drawing.trades(market.trades, x, theme, () => chosen));
    } else if (!panel.strip && lines.length) {
      const pair = lines.length === 2 && panel.shaded ? lines : null;
      attach(lines[0].series, drawing.divergence(panel.shaded ? market.spans : [], x, pair, chart));
      attach(lines[0].series, drawing.moments(market.moments, x, theme, false));
    }
  }

  market.panels.forEach(addPanel);
  chart.panes().forEach((pane, i) => pane.setStretchFactor(market.panels[i].weight));

  const boxes = market.panels.map((panel, index) => {
    const box = document.createElement("div");
    box.className = "legend";
    box.append(Object.assign(document.createElement("b"), { textContent: panel.title }));
    for (const legend of legends.filter((each) => each.index === index)) {
      legend.span = document.createElement("span");
      if (legend.color) legend.span.style.color = legend.color;
      box.append(legend.span);
    }
    element.append(box);
    return box;
  });

  function place() {
    const top = element.getBoundingClientRect().top;
    const left = chart.priceScale("left").width();
    chart.panes().forEach((pane, i) => {
      const row = pane.getHTMLElement();
      if (!row) return;
      boxes[i].style.top = `${row.getBoundingClientRect().top - top + 3}px`;
      boxes[i].style.left = `${left + 8}px`;
    });
  }

  function speak(i) {
    for (const legend of legends) {
      const shown = legend.read(i).map((value) => format.show(value ?? null, legend.kind));
      legend.span.textContent = `${legend.name} ${shown.join("  ")}`.trim();
    }
  }

  function seen() {
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const from = Math.max(market.start, time(range.from));
    const to = Math.min(last + market.step, time(range.to));
    seenElement.textContent = format.range(Math.round(from), Math.round(Math.max(from, to)));
    requestAnimationFrame(place);
  }

  const clamp = (i) => Math.min(market.count - 1, Math.max(0, Math.round(i)));
  chart.subscribeCrosshairMove((at) => {
    speak(at.logical === undefined || at.logical === null ? market.count - 1 : clamp(at.logical));
    place();
  });
  scale.subscribeVisibleLogicalRangeChange(seen);
  scale.subscribeSizeChange(() => requestAnimationFrame(place));
  speak(market.count - 1);
  requestAnimationFrame(() => { showAll(); place(); });

  /** Show [from, to], UTC seconds. */
  function show(from, to) {
    scale.setVisibleLogicalRange({ from: (from - market.start) / market.step,
      to: (to - market.start) / market.step });
  }

  function showAll() {
    const fit = () => scale.setVisibleLogicalRange({ from: -0.5, to: market.count + 1 });
    fit();
    // What has come into view may need wider axes, which push the first bars out.
    requestAnimationFrame(() => requestAnimationFrame(fit));
  }

  /** Show the last `seconds`, or around the middle of what is seen. */
  function span(seconds) {
    const range = scale.getVisibleLogicalRange();
    const centre = time((range.from + range.to) / 2);
    const half = seconds / 2;
    const middle = Math.min(last - half, Math.max(market.start + half, centre));
    show(middle - half, middle + half);
  }

  function zoom(factor) {
    const { from, to } = scale.getVisibleLogicalRange();
    const centre = (from + to) / 2;
    const half = Math.max(2, (to - from) * factor / 2);
    scale.setVisibleLogicalRange({ from: centre - half, to: centre + half });
  }

  function pan(share) {
    const { from, to } = scale.getVisibleLogicalRange();
    const by = (to - from) * share;
    scale.setVisibleLogicalRange({ from: from + by, to: to + by });
  }

  /** Show a trade with what led to it; -1 chooses none. */
  function choose(i) {
    chosen = i;
    const trade = market.trades[i];
    if (trade) {
      const to = trade.to ?? last;
      const room = Math.max(0.35 * (to - trade.from), 24 * market.step, 3600);
      show(trade.from - room, to + room * 0.5);
    }
    layers.forEach((each) => each.repaint());
  }

  /** All panels with their titles as an image, for paper. */
  function picture() {
    const canvas = chart.takeScreenshot(true);
    const context = canvas.getContext("2d");
    const ratio = canvas.width / element.clientWidth;
    context.scale(ratio, ratio);
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "top";
    context.fillStyle = theme().text;
    boxes.forEach((box, i) => {
      context.fillText(market.panels[i].title, box.offsetLeft, box.offsetTop + 3);
    });
    return canvas.toDataURL("image/png");
  }

  function remove() {
    boxes.forEach((box) => box.remove());
    chart.remove();
  }

  return { show, showAll, span, zoom, pan, choose, picture, remove };
}
