/** The states of the method in words, and where each stands in its five phases. */

export const STATES = {
  WARMUP: { name: "Warming up", phase: 0, does: "Collects the history the scales need." },
  WATCHING: { name: "Watching", phase: 1, does: "Waits for spot and perpetuals to part." },
  DIVERGENCE: { name: "Divergence", phase: 2, does: "They have parted; waits for the reset." },
  RESET: { name: "Reset", phase: 3, does: "The gap closes; the score builds up." },
  ENTRY_READY: { name: "Entry ready", phase: 4, does: "The signal is out; waits for the fill." },
  IN_POSITION: { name: "In position", phase: 5, does: "Held until the flow says otherwise." },
  CLOSING: { name: "Closing", phase: 5, does: "The exit is out; waits for the fill." },
  COOLDOWN: { name: "Cooldown", phase: 0, does: "Rests after a trade." },
};
export const PHASES = ["Context", "Divergence", "Reset", "Entry", "Position"];
export const PARTS = {
  cvd_reset_deceleration: "Reset slows down",
  absorption_candle: "Absorption",
  failed_breakdown: "Failed breakdown",
  directional_bias: "Direction turns",
  oi_confirmation: "Open interest",
};
export const ENVIRONMENTS = { SHORT_SQUEEZE: "shorts trapped", LONG_SQUEEZE: "longs trapped",
  NEUTRAL: "neutral" };

export const stateName = (state) => STATES[state]?.name ?? (state || "\u2013");

/** A side by shape and word: shown by classes `long` and `short`. */
export const sideName = (direction) => (direction > 0 ? "long" : direction < 0 ? "short" : "");

export const base = (symbol) => symbol.replace(/(USDT|USDC|USD)$/, "");
