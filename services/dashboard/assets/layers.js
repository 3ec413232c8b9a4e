/** What is drawn on the panes besides series: gaps of the data, the set-up, signals. */

const GAP = "242,204,96";
const SETUP = { 1: "76,181,245", [-1]: "240,136,62", 0: "217,165,33" };
const PILL_PX = 15;
const SAME_PX = 3;
const NAMES_AT = 0.84;
/** Room for the names of the price lines at the right edge. */
const NAMES_PX = 84;

const shown = (a, b, width) => a !== null && b !== null && b >= 0 && a <= width;

/** Seconds that are not complete: a hatched band at the lower edge, faint above it. */
export function gapLayer(list, x) {
  return drawing.layer((context, { width, height }) => {
    for (const { from, to } of list) {
      const a = x(from);
      const b = x(to);
      if (!shown(a, b, width)) continue;
      const left = Math.max(0, a);
      const wide = Math.max(1.5, Math.min(width, b) - left);
      context.fillStyle = `rgba(${GAP},.022)`;
      context.fillRect(left, 0, wide, height);
      context.fillStyle = `rgba(${GAP},.75)`;
      context.fillRect(left, height - 3, wide, 3);
    }
  }, true);
}

/** From the anchor of a set-up to now. `get()`: {from, to, direction} or null. */
export function setupLayer(get, x) {
  return drawing.layer((context, { width, height }) => {
    const setup = get();
    if (!setup) return;
    const a = x(setup.from);
    const b = x(setup.to);
    if (!shown(a, b, width)) return;
    const color = SETUP[setup.direction] ?? SETUP[0];
    context.fillStyle = `rgba(${color},.055)`;
    context.fillRect(a, 0, Math.max(1, b - a), height);
    context.fillStyle = `rgba(${color},.5)`;
    context.fillRect(a, 0, 1, height);
  }, true);
}

/** Moments of the set-up, named above the volume at the foot of the pane. */
export function momentLayer(list, x, theme) {
  return drawing.layer((context, { width, height }) => {
    const { soft, panel } = theme();
    let clear = -Infinity;
    let row = 0;
    for (const { t, name } of list) {
      const px = x(t);
      if (px === null || px < 0 || px > width) continue;
      context.lineWidth = 1;
      context.strokeStyle = soft;
      context.globalAlpha = 0.7;
      context.setLineDash([2, 4]);
      context.beginPath();
      context.moveTo(px, 0);
      context.lineTo(px, height);
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 1;
      context.font = "10.5px Inter, system-ui, sans-serif";
      const wide = context.measureText(name).width;
      row = px - wide / 2 < clear ? row + 1 : 0;
      clear = px + wide / 2 + 8;
      const left = Math.max(3, Math.min(width - wide - 3, px - wide / 2));
      const y = height * NAMES_AT - 14 * row;
      context.lineWidth = 4;
      context.lineJoin = "round";
      context.strokeStyle = panel;
      context.strokeText(name, left, y);
      context.lineWidth = 1;
      context.fillStyle = soft;
      context.fillText(name, left, y);
    }
  }, false);
}

/** Signals: a pill with side and score, below the price of a long, above that of a short. */
export function signalLayer(list, x, theme) {
  return drawing.layer((context, { width, height }, { series }) => {
    const { up, down, soft, panel } = theme();
    context.font = "600 10.5px Inter, system-ui, sans-serif";
    context.textBaseline = "middle";
    let last = { px: -Infinity, side: 0 };
    for (const signal of list) {
      const px = x(signal.t);
      const price = series.priceToCoordinate(signal.price);
      if (px === null || price === null || px < -40 || px > width + 40) continue;
      // Zoomed far out they lie upon each other: one is enough to see that there are some.
      if (Math.abs(px - last.px) < SAME_PX && signal.side === last.side) continue;
      last = { px, side: signal.side };
      const color = signal.dead ? soft : signal.side > 0 ? up : down;
      const wide = context.measureText(signal.text).width + 22;
      const top = place(price, signal.side, height);
      const left = Math.min(width - wide - NAMES_PX, Math.max(4, px - wide / 2));
      leader(context, { left, top, wide, color, px, price });
      pill(context, { left, top, wide, color, panel, signal });
      context.fillText(signal.text, left + 16, top + PILL_PX / 2 + 0.5);
    }
  }, false);
}

/** Away from the price on the signal's side, on the other where there is no room. */
function place(price, side, height) {
  const top = price + side * 34 - PILL_PX / 2;
  const fits = top > 20 && top < height - PILL_PX - 4;
  const chosen = fits ? top : price - side * 30 - PILL_PX / 2;
  return Math.min(height - PILL_PX - 4, Math.max(20, chosen));
}

/** From a pill that had to move aside to its place. */
function leader(context, { left, top, wide, color, px, price }) {
  if (px >= left && px <= left + wide) return;
  context.strokeStyle = color;
  context.globalAlpha = 0.55;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(px > left ? left + wide : left, top + PILL_PX / 2);
  context.lineTo(px, price);
  context.stroke();
  context.globalAlpha = 1;
}

function pill(context, { left, top, wide, color, panel, signal }) {
  context.beginPath();
  context.roundRect(left, top, wide, PILL_PX, 3);
  context.fillStyle = panel;
  context.globalAlpha = 0.9;
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.stroke();
  context.fillStyle = color;
  const [cx, cy, side] = [left + 9, top + PILL_PX / 2, signal.side > 0 ? 1 : -1];
  context.beginPath();
  context.moveTo(cx, cy - 3.5 * side);
  context.lineTo(cx - 3.8, cy + 3 * side);
  context.lineTo(cx + 3.8, cy + 3 * side);
  context.closePath();
  context.fill();
}
