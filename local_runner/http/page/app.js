// The frame of the page: which view is open, and when the runner is asked again.
import { call } from "./api.js";
import { chips, h, show } from "./dom.js";
import { Job } from "./job.js";
import { Jobs, link } from "./jobs.js";

const SOON = 500, BUSY = 3000, IDLE = 15_000, HIDDEN = 60_000; // milliseconds from one request to the next
const at = (id) => document.getElementById(id);
const soon = () => [(delay = SOON), refresh()];
let view, timer, trouble, seen, here, scripts = [], agents, delay = SOON;

function open() {
  const [path, given] = location.hash.slice(1).split("?");
  // Unlike decodeURIComponent it takes anything.
  const [kind, id = ""] = path.split("/").map((text) => new URLSearchParams(`=${text.replaceAll("+", "%2B")}`).get(""));
  const changed = (isNews) => mine === view && (isNews ? soon() : render());
  const mine = kind === "job" ? new Job(id, changed) : new Jobs(id, new URLSearchParams(given), changed);
  const isFirst = !view;
  view = mine;
  render();
  if (!isFirst) document.querySelector("h1").focus();
  soon();
}

/** Ask, and ask again: soon while something changes, ever later while nothing does. */
async function refresh() {
  const mine = view;
  clearTimeout(timer);
  try {
    ({ scripts, agents } = await call("scripts"));
    const { busy, ...state } = await mine.load(scripts);
    const now = JSON.stringify([scripts, agents, state]);
    delay = now === seen && !trouble ? Math.min(delay * 1.5, busy ? BUSY : IDLE) : SOON;
    [seen, trouble, mine.refused] = [now, null, null];
  } catch (error) {
    // Only what is asked for can be wrong with these; anything else may be well in a while.
    if ([400, 404].includes(error.status)) mine.refused = error.message;
    else trouble = error;
    delay = Math.min(delay * 2, IDLE);
  }
  if (mine !== view) return;
  render();
  clearTimeout(timer);
  timer = setTimeout(refresh, document.hidden ? HIDDEN : delay);
}

function render() {
  const script = view.scriptId ?? view.job?.scriptId;
  document.title = `${view.title} · script-runner`;
  show(at("main"), view.render());
  show(at("scripts"), [{ id: "" }, ...scripts].map(({ id, running, queued }) => h("li", { key: `script ${id}` },
    h("a", { href: link(id), "aria-current": id === script && "page" }, id || "All jobs", id && counts(running, queued)))));
  const current = document.querySelector("nav [aria-current]");
  if (current !== here) at("scripts").scrollLeft = (here = current)?.offsetLeft - 40; // in a narrow window they are one line
  at("agents").hidden = !agents?.length;
  show(at("agents"), [h("h2", {}, "Agents"), h("ul", {}, agents?.map(agent))]);
  const sum = (key) => scripts.reduce((total, each) => total + each[key], 0);
  show(at("load"), [counts(sum("running"), sum("queued"))]);
  show(at("trouble"), trouble ? [h("p", {}, saying(trouble)), h("button", { onclick: soon }, "Try now")] : []);
  if (view.job && at("said").textContent !== view.title) at("said").textContent = view.title;
}

const counts = (running, queued, more) =>
  h("span.counts", {}, [running && `${running} running`, queued && `${queued} queued`, more].filter(Boolean).join(", "));

function agent({ name, host, labels, slots, running, state }) {
  const free = `${Math.max(0, slots - running)} of ${slots} slots free`;
  const can = { draining: "draining: takes no more jobs", away: "away: it does not respond" }[state] ?? free;
  return h("li", { key: `agent ${name}`, title: host }, h("span.name", {}, name), chips(labels), counts(running, 0, can));
}

function saying({ status, message }) {
  if (status === 401) return "This runner wants its token. Reload the page and give it as the password; any user name will do.";
  return status ? message : "The runner does not respond. Is it running? This page goes on by itself when it is back.";
}

at("where").textContent = location.host;
at("skip").onclick = () => document.querySelector("h1").focus();
addEventListener("hashchange", open);
document.addEventListener("visibilitychange", () => document.hidden || soon());
setInterval(() => document.hidden || render(), 1000);
open();
