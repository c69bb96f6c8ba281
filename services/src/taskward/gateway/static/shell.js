/* The page's side of protocol v2 (see shell_talk.py): a terminal that comes back when its connection was cut off.
   The session's name stands in sessionStorage, so reloading the page keeps the shell; another tab gets its own. */
"use strict";

const INPUT = 1;
const RESIZE = 2;
const FINAL_CODES = new Set([1000, 1001, 1003, 1009, 1013, 4404, 4409, 4410]);
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
const GIVE_UP_AFTER_MS = 120000;
const MOST_INPUT = 65536;

const memory = "session of " + location.pathname;
const query = new URLSearchParams(location.search);
const encoder = new TextEncoder();
const terminal = new Terminal({ cursorBlink: true, scrollback: 10000, fontFamily: "monospace" });
const fit = new FitAddon.FitAddon();
let socket = null;
let session = sessionStorage.getItem(memory) || "new";
let offset = 0;
let wasOpen = false;
let lastOpenMs = performance.now();
let pauseMs = FIRST_PAUSE_MS;

function show(text, kind) {
  const state = document.getElementById("state");
  state.textContent = text;
  state.className = kind;
  document.getElementById("again").hidden = kind !== "over";
}

function send(kind, bytes) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  const message = new Uint8Array(1 + bytes.length);
  message[0] = kind;
  message.set(bytes, 1);
  socket.send(message);
}

function sendInput(bytes) {
  for (let at = 0; at < bytes.length; at += MOST_INPUT) send(INPUT, bytes.subarray(at, at + MOST_INPUT));
}

function sendSize() {
  const { rows, cols } = terminal;
  send(RESIZE, new Uint8Array([rows & 255, rows >> 8, cols & 255, cols >> 8]));
}

function address() {
  const url = new URL(location.pathname.replace(/\/+$/, ""), location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ session, offset: String(offset) });
  return url;
}

function told(message) {
  if (message.type === "session") {
    session = message.session;
    offset = message.offset;
    sessionStorage.setItem(memory, session);
    if (message.missed) terminal.write(`\r\n\x1b[33m[${message.missed} bytes are lost]\x1b[0m\r\n`);
  } else if (message.type === "exit") {
    terminal.write(`\r\n\x1b[33m[the shell ended with exit code ${message.code}]\x1b[0m\r\n`);
  }
}

function connect() {
  show("connecting", "");
  socket = new WebSocket(address());
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    pauseMs = FIRST_PAUSE_MS;
    wasOpen = true;
    show("connected", "open");
    sendSize();
    terminal.focus();
  };
  socket.onmessage = (event) => {
    if (typeof event.data === "string") {
      told(JSON.parse(event.data));
    } else {
      offset += event.data.byteLength;
      terminal.write(new Uint8Array(event.data));
    }
  };
  socket.onclose = closed;
}

function closed(event) {
  if (wasOpen) lastOpenMs = performance.now();
  wasOpen = false;
  if (FINAL_CODES.has(event.code)) {
    forget();
    show(event.reason || "closed", "over");
  } else if (performance.now() - lastOpenMs > GIVE_UP_AFTER_MS) {
    show("the worker does not answer; the task may have ended", "over");
  } else {
    show("connection lost, trying again", "");
    setTimeout(connect, pauseMs);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

function forget() {
  sessionStorage.removeItem(memory);
  session = "new";
  offset = 0;
}

document.getElementById("task").textContent = [query.get("taskId"), query.get("runId")].filter(Boolean).join(" / ");
document.getElementById("again").onclick = () => {
  forget();
  terminal.reset();
  lastOpenMs = performance.now();
  connect();
};
terminal.loadAddon(fit);
terminal.open(document.getElementById("terminal"));
terminal.onData((text) => sendInput(encoder.encode(text)));
terminal.onBinary((text) => sendInput(Uint8Array.from(text, (each) => each.charCodeAt(0))));
terminal.onResize(sendSize);
new ResizeObserver(() => fit.fit()).observe(document.getElementById("terminal"));
fit.fit();
connect();
