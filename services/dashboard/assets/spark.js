import { make } from "./dom.js";

/** A line of at most 120 values, drawn as SVG; scaled to its own largest. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 22;

export function spark(label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("class", "spark");
  const lines = ["p99", "median"].map((name) => {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", name);
    line.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(line);
    return line;
  });
  svg.setAttribute("aria-label", label);
  return { svg, lines };
}

/** `p99`, `median`: ms, ascending in time; null leaves a gap. */
export function drawSpark({ svg, lines }, { stage, p99, median }) {
  const most = Math.max(1e-9, ...p99.map((v) => v ?? 0), ...median.map((v) => v ?? 0));
  [p99, median].forEach((values, i) => lines[i].setAttribute("d", path(values, most)));
  const last = p99.at(-1);
  svg.setAttribute("aria-label", `${stage}: 99th percentile ${last === null || last === undefined
    ? "not known" : `${last.toFixed(1)} ms`} now, at most ${most.toFixed(1)} ms`);
}

function path(values, most) {
  const step = WIDTH / Math.max(1, values.length - 1);
  let pen = "M";
  let drawn = "";
  values.forEach((value, i) => {
    if (value === null) {
      pen = "M";
      return;
    }
    drawn += `${pen}${(i * step).toFixed(1)} ${(HEIGHT - 2 - (HEIGHT - 4) * value / most).toFixed(1)}`;
    pen = "L";
  });
  return drawn;
}

export function stateDot(state) {
  return make("i", { className: "dot", data: { state }, attributes: { "aria-hidden": "true" } });
}

