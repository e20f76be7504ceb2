// One job: its state, its two streams while they come, and what can be done with it.
import { call, jobPath } from "./api.js";
import { STATUSES, ago, badge, chips, h, took } from "./dom.js";
import { prefill } from "./form.js";
import { link, listedJob } from "./jobs.js";
import { Log } from "./log.js";

export class Job {
  constructor(id, changed) {
    Object.assign(this, { id, changed, title: "Job", logs: ["stdout", "stderr"].map((stream) => new Log(id, stream, changed)) });
  }

  async load(scripts) {
    const job = (this.job = await call(jobPath(this.id)));
    this.title = `${STATUSES[job.status] ?? job.status}: ${job.scriptId}`;
    this.changed();
    await Promise.all(this.logs.map((log) => log.update(job)));
    if (this.knownAt !== job.startedAt) this.listed = await listedJob(job).catch(() => this.listed);
    [this.knownAt, this.script] = [job.startedAt, scripts.find(({ id }) => id === job.scriptId)];
    return { job: this.job, busy: !this.job.endedAt };
  }

  render() {
    const { job, listed, refusal, refused } = this, missing = refused && `${refused}. The runner keeps the newest jobs only.`;
    if (!job) return [h("h1", { tabindex: -1 }, "Job"), h("p.empty card", {}, missing ?? "Loading…")];
    const waits = this.script?.agents === 0 ? "waits for an agent that can run it" : "starts when there is room";
    const [time, worker] = job.status === "queued" ? [waits] : [took(job), listed?.worker && `on ${listed.worker}`];
    const facts = [time, worker, job.endedAt && job.code >= 0 && `exit code ${job.code}`].filter(Boolean);
    return [
      h("p.muted", {}, h("a", { href: link(job.scriptId) }, job.scriptId), ` / ${job.jobId}`),
      h("h1", { tabindex: -1 }, job.scriptId),
      chips(listed?.args),
      h("div.actions", {},
        badge(job.status), h("span.muted", {}, facts.map((fact) => `${fact} · `), "accepted ", ago(job.createdAt)), this.#button()),
      h("p.refusal", { role: "alert" }, refusal ?? this.#reason()),
      ...this.logs.map((log) => log.render(job)),
    ];
  }

  /** One button: who has cancelled by the keyboard is where the job can be run again. */
  #button() {
    if (!this.job.endedAt) return h("button.danger", { onclick: () => this.#cancel() }, this.isCancelled ? "Cancelling…" : "Cancel the job");
    const again = () => [prefill(this.job.scriptId, this.listed.args), (location.hash = link(this.job.scriptId))];
    return this.listed && h("button", { onclick: again }, "Run again…");
  }

  /** Why it failed without an exit code: the runner says so behind the output, if it can. */
  #reason() {
    const { status, code, stderrPreview } = this.job;
    if (status !== "failed" || code >= 0 || this.knownAt === undefined) return null;
    const last = stderrPreview.trimEnd().split("\n").at(-1);
    return this.logs[1].text.data.includes(last) ? "It has no exit code: the runner ended while it ran." : last;
  }

  async #cancel() {
    Object.assign(this, { isCancelled: true, refusal: null });
    try {
      this.job = await call(`${jobPath(this.id)}/cancel`, {});
    } catch ({ message }) {
      Object.assign(this, { isCancelled: false, refusal: `It was not cancelled: ${message}` });
    }
    this.changed(true);
  }
}
