/** One websocket to the server, for ever: what comes in, and since when nothing does. */

const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 10_000;
const SILENCE_MS = 10_000;

/** Codes with which the server closes; after any other it is tried again soon. */
const CLOSE = { login: 4401, tooMany: 4429 };

/** `onMessage(message)`, `onState("open" | "lost", why)`. */
export function connect({ onMessage, onState }) {
  let socket = null;
  let attempts = 0;
  let timer = 0;
  let heardMs = null;
  let aliveMs = 0;
  let watched = "";

  function open() {
    clearTimeout(timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const mine = new WebSocket(`${scheme}://${location.host}/live`);
    socket = mine;
    mine.addEventListener("open", () => {
      attempts = 0;
      aliveMs = Date.now();
      onState("open");
      if (watched) send();
    });
    mine.addEventListener("message", ({ data }) => {
      heardMs = aliveMs = Date.now();
      onMessage(JSON.parse(data));
    });
    mine.addEventListener("close", ({ code, reason }) => { if (socket === mine) lost(code, reason); });
  }

  function lost(code, reason) {
    socket = null;
    if (code === CLOSE.login) {
      location.assign("/login");
      return;
    }
    onState("lost", code === CLOSE.tooMany ? reason : "");
    if (attempts > 0 && attempts % 3 === 0) checkLogin();
    const least = code === CLOSE.tooMany ? MAX_DELAY_MS : FIRST_DELAY_MS;
    const delay = Math.min(MAX_DELAY_MS, least * 2 ** attempts);
    attempts += 1;
    clearTimeout(timer);
    timer = setTimeout(open, delay * (0.5 + Math.random() / 2));
  }

  function send() {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ symbol: watched }));
  }

  function hurry() {
    if (socket === null && !document.hidden) {
      attempts = 0;
      open();
    }
  }

  // A connection whose other end is gone without a word says nothing; the server speaks each second.
  setInterval(() => {
    if (socket?.readyState === WebSocket.OPEN && Date.now() - aliveMs > SILENCE_MS) {
      const silent = socket;
      lost();
      silent.close();
    }
  }, 1_000);
  document.addEventListener("visibilitychange", hurry);
  window.addEventListener("online", hurry);
  open();

  return {
    watch(symbol) { watched = symbol; send(); },
    /** Local time of the last word of the server, ms; null before the first. */
    heardMs: () => heardMs,
    isOpen: () => socket?.readyState === WebSocket.OPEN,
  };
}

/** A websocket does not say why it was refused; a plain request does. */
async function checkLogin() {
  try {
    const answer = await fetch("/api/history", { method: "HEAD", cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) location.assign("/login");
  } catch { /* The server is away, which the banner says. */ }
}

/** Bars of `step` seconds in [from, to). Raises `Error` with the server's words. */
export async function fetchHistory(symbol, step, from, to, signal) {
  const query = new URLSearchParams({ symbol, step, from, to });
  const answer = await fetch(`/api/history?${query}`, { signal, cache: "no-store" });
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) {
    throw new Error((await answer.text()).slice(0, 300) || `the server answers ${answer.status}`);
  }
  return answer.json();
}
