// What the views are made with. Text from the runner becomes text, never markup.
import { now } from "./api.js";

const HANDLERS = ["onclick", "oninput", "onkeydown", "onsubmit"];
export const STATUSES = {
  queued: "Queued", running: "Running", succeeded: "Succeeded", failed: "Failed", timed_out: "Timed out", canceled: "Cancelled",
};
const RING = "M14 8a6 6 0 1 1-12 0a6 6 0 0 1 12 0";
const ICONS = {
  queued: `${RING}M8 4.5V8l2.2 1.6`, running: "M8 2a6 6 0 1 1-6 6", succeeded: `${RING}M5.3 8.2l1.9 1.9 3.5-4`,
  failed: `${RING}M6 6l4 4M10 6l-4 4`, timed_out: "M8 2.2l6 11.3H2zM8 6.5v3.2M8 11.6v.2", canceled: `${RING}M4 12l8-8`,
};

/** An element: `h("a.class", { href }, text, elements, …)`. With a `key` it stays the same wherever it moves. */
export function h(tag, props, ...children) {
  const [name, classes] = tag.split(".");
  const kind = name === "svg" || name === "path" ? "2000/svg" : "1999/xhtml";
  const node = document.createElementNS(`http://www.w3.org/${kind}`, name);
  if (classes) node.setAttribute("class", classes);
  for (const [key, value] of Object.entries(props)) {
    if (key === "key" || HANDLERS.includes(key)) node[key] = value;
    else if (value || value === 0) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter(Boolean));
  return node;
}

/** Make these the children of a node; what is the same stays, and with it focus, selection and scrolling. */
export function show(parent, children) {
  const keyed = new Map([...parent.childNodes].map((node) => [node.key, node]));
  let place = parent.firstChild;
  for (const child of children) {
    const old = child.key ? keyed.get(child.key) : place;
    if (old && old.nodeName === child.nodeName && old.key === child.key) {
      if (old === place) place = place.nextSibling;
      else parent.insertBefore(old, place);
      update(old, child);
    } else parent.insertBefore(child, place);
  }
  while (place) [place] = [place.nextSibling, place.remove()];
}

function update(old, node) {
  if (old.nodeType === Node.TEXT_NODE) return old.data === node.data || (old.data = node.data);
  for (const { name } of [...old.attributes]) if (!node.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of node.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const handler of HANDLERS) old[handler] = node[handler];
  if (old.nodeName !== "PRE") show(old, [...node.childNodes]);
}

export function badge(status) {
  const icon = h("svg", { "aria-hidden": "true", viewBox: "0 0 16 16" }, h("path", { d: ICONS[status] ?? RING }));
  return h("span.badge", { "data-status": status }, icon, STATUSES[status] ?? status);
}

/** The arguments of a job, each apart from the next. */
export const chips = (args = []) => h("span.chips", {}, args.map((arg) => h(arg ? "code" : "code.none", {}, arg || "empty")));

/** How long a job has run, by now if it still runs. */
export function took({ startedAt, durationMs }) {
  if (!startedAt) return "";
  return durationMs === null ? duration(Math.max(0, now() - Date.parse(startedAt)), 0) : duration(durationMs);
}

export function duration(ms, digits = 1) {
  const seconds = Math.floor(ms / 1000);
  if (digits && ms < 1000) return `${ms} ms`;
  if (seconds < 60) return `${digits ? (ms / 1000).toFixed(digits) : seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(datetime) {
  let past = Math.max(0, now() - Date.parse(datetime)) / 1000;
  const title = new Date(datetime).toLocaleString();
  for (const [unit, size] of [["second", 60], ["minute", 60], ["hour", 24], ["day", Infinity]]) {
    if (past < size) return h("time", { datetime, title }, AGO.format(-Math.floor(past), unit));
    past /= size;
  }
}
