// One stream of a job's log: a part of it, however long it is; its end while it grows.
import { call, jobPath } from "./api.js";
import { h } from "./dom.js";

const PAGE = 64 * 1024, MOST = 4 * PAGE; // bytes
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g;
const bytes = (text) => new TextEncoder().encode(text).length;

/** Output as it would stand on a terminal without colours: of what a line overwrote, the last state. */
function plain(raw) {
  const lines = raw.replace(ESCAPES, "").split("\n").map((line) => line.split("\r").findLast(Boolean) ?? "");
  return lines.join("\n").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "");
}

export class Log {
  #pages = [];
  #size = 0;
  #follows = true;
  #turn = Promise.resolve();
  text = new Text();

  constructor(jobId, stream, changed) {
    Object.assign(this, { jobId, stream, changed });
  }

  get #start() { return this.#pages[0]?.start ?? 0; }
  get #end() { return this.#pages.at(-1)?.end ?? 0; }
  get #pre() { return document.getElementById(this.stream); }

  /** Show what has come; nothing moves for who reads another part. */
  update(job) {
    return this.#next(async () => {
      const { scrollTop, clientHeight, scrollHeight } = this.#pre;
      this.#size = job[`${this.stream}Size`];
      if (!this.#follows || scrollTop + clientHeight < scrollHeight - 8 || this.#end >= this.#size) return;
      if (!this.#pages.length || this.#size - this.#end > MOST) return this.#go("End");
      for (let end = -1; end < this.#end && this.#end < this.#size; ) {
        end = this.#end;
        this.#pages.push(await this.#read(end, PAGE));
        while (this.#end - this.#start > MOST) this.#pages.shift();
      }
      this.#draw("End");
    });
  }

  /** One thing after the other, whether a click or the time asks for it. */
  #next(work) {
    return (this.#turn = this.#turn.catch(() => {}).then(work));
  }

  async #go(where) {
    const first = { Beginning: 0, Earlier: this.#start - PAGE, Later: this.#end, End: this.#size - PAGE }[where];
    const page = await this.#read(Math.max(0, first), where === "Earlier" ? Math.min(PAGE, this.#start) : PAGE);
    this.#follows = page.end >= this.#size;
    this.#pages = [wholeLines(page, page.start > 0 && page.start !== this.#end, !this.#follows)];
    this.#draw(where);
  }

  async #read(offset, limit) {
    const query = new URLSearchParams({ stream: this.stream, offset, limit });
    const { data, nextOffset } = await call(`${jobPath(this.jobId)}/logs?${query}`);
    return { start: offset, end: nextOffset, data };
  }

  #draw(where) {
    const text = plain(this.#pages.map(({ data }) => data).join(""));
    // Added where it can be, so that a selection stays.
    if (text.startsWith(this.text.data)) this.text.appendData(text.slice(this.text.length));
    else this.text.data = text;
    this.changed();
    if (!this.text.isConnected) this.#pre.append(this.text);
    this.#pre.scrollTop = where === "End" || where === "Earlier" ? this.#pre.scrollHeight : 0;
  }

  render(job) {
    const [back, on] = [this.#start > 0, this.#end < this.#size], isPart = back || on;
    const number = (bytes) => bytes.toLocaleString("en");
    const of = isPart ? `bytes ${number(this.#start)} to ${number(this.#end)} of ${number(this.#size)}` : `${number(this.#size)} bytes`;
    const button = (name, can) =>
      h("button", { "aria-disabled": String(!can), onclick: () => can && this.#next(() => this.#go(name)) }, name);
    const cut = job[`${this.stream}Truncated`] &&
      "Not all is here: the log was full (maxLogBytesPerStream), or its disk, or the script had ended.";
    return h("section.log card", { key: `${this.jobId} ${this.stream}`, "aria-label": this.stream },
      h("header", {}, h("h2", {}, this.stream), h("span.muted", {}, of),
        isPart && h("span.actions", {}, button("Beginning", back), button("Earlier", back), button("Later", on), button("End", on))),
      h("pre", { id: this.stream, tabindex: 0, hidden: !this.#size, "aria-label": `${this.stream} of the job` }),
      h("p.muted", {}, cut || (!this.#size && (job.endedAt ? "Nothing was written." : "Nothing yet."))));
  }
}

/** A page without the part of a line that it begins or ends with, as far as the bytes of that can be told. */
function wholeLines({ start, end, data }, isBegunInside, isEndedInside) {
  const [, cut, first] = /^(\ufffd{0,3})([^\n]*\n?)/.exec(data);
  const last = data.slice(data.lastIndexOf("\n") + 1);
  const head = isBegunInside && first.endsWith("\n") && !first.includes("\ufffd") ? cut + first : "";
  const tail = isEndedInside && last !== data && !last.includes("\ufffd") ? last : "";
  const skipped = head ? cut.length + bytes(first) : 0;
  return { start: start + skipped, end: end - bytes(tail), data: data.slice(head.length, data.length - tail.length) };
}
