/* Shows an X display of the task with noVNC: the one that is chosen, else the first that there is. An X server may start
   long after the page was opened, and start anew, so the page goes on looking. */
import RFB from "./novnc/core/rfb.js";

const FINAL_STATUSES = new Set([401, 410]);
const PAUSE_MS = 3000;
const MOST_FAILURES = 20;

const query = new URLSearchParams(location.search);
const screen = document.getElementById("screen");
const choice = document.getElementById("displays");
const watch = document.getElementById("watch");
const socketUrl = new URL("display.sock", location.href);
let viewer = null;
let shown = "";
let failures = 0;
let timer = 0;

function show(text, kind) {
  const state = document.getElementById("state");
  state.textContent = text;
  state.className = kind;
  document.getElementById("again").hidden = kind !== "over";
}

function lookSoon() {
  clearTimeout(timer);
  timer = setTimeout(look, PAUSE_MS);
}

function failed(text) {
  failures += 1;
  if (failures > MOST_FAILURES) show(text, "over");
  else {
    show(`${text}, trying again`, "");
    lookSoon();
  }
}

async function look() {
  if (document.hidden) {
    document.addEventListener("visibilitychange", look, { once: true });
    return;
  }
  try {
    const answer = await fetch(socketUrl, { cache: "no-store" });
    const found = await answer.json();
    if (answer.ok) offer(found);
    else if (FINAL_STATUSES.has(answer.status)) show(found.message, "over");
    else failed(found.message);
  } catch {
    failed("the worker does not answer");
  }
}

function offer(found) {
  failures = 0;
  const names = found.map((each) => each.display);
  choice.replaceChildren(...found.map(({ display, width, height }) => new Option(`${display} (${width}×${height})`, display)));
  document.getElementById("choice").hidden = names.length < 2;
  if (!names.length) {
    show("no display yet: the task has started no X server, or it lets nobody in", "");
    lookSoon();
    return;
  }
  connect(names.includes(shown) ? shown : names[0]);
}

function connect(display) {
  clearTimeout(timer);
  shown = choice.value = display;
  const url = new URL(socketUrl);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("display", display);
  show(`connecting to ${display}`, "");
  const mine = new RFB(screen, url.href, { shared: true });
  viewer = mine;
  mine.scaleViewport = true;
  mine.viewOnly = watch.checked;
  mine.addEventListener("connect", () => {
    show(`display ${display}`, "open");
    mine.focus();
  });
  mine.addEventListener("disconnect", () => {
    if (viewer !== mine) return;
    show("the display was closed, looking again", "");
    lookSoon();
  });
}

choice.onchange = () => {
  const before = viewer;
  viewer = null;
  if (before) before.disconnect();
  connect(choice.value);
};
watch.onchange = () => {
  if (viewer) viewer.viewOnly = watch.checked;
};
document.getElementById("again").onclick = () => {
  failures = 0;
  look();
};
document.getElementById("task").textContent = [query.get("taskId"), query.get("runId")].filter(Boolean).join(" / ");
look();
