// The list of jobs; for one script also what it is and the form that runs it.
import { call, jobLink } from "./api.js";
import { STATUSES, ago, badge, chips, duration, h, took } from "./dom.js";
import { Form } from "./form.js";

const listed = new Map(); // jobs as they were listed: a job alone tells neither its arguments nor its worker
const query = (given) => new URLSearchParams(Object.entries(given).filter(([, value]) => value));

export function link(scriptId, given = {}) {
  return `#${scriptId ? `script/${encodeURIComponent(scriptId)}` : "jobs"}?${query(given)}`.replace(/\?$/, "");
}

async function list(given) {
  const page = await call(`jobs?${query(given)}`);
  if (listed.size > 5000) listed.clear();
  for (const { jobId, args, worker, startedAt } of page.jobs) listed.set(jobId, { args, worker, startedAt });
  return page;
}

/** The arguments of a job and its worker since it was started; undefined if it is not among the newest of its script. */
export async function listedJob({ jobId, scriptId, startedAt }) {
  if (listed.get(jobId)?.startedAt !== startedAt) await list({ scriptId, limit: 500 });
  return listed.get(jobId);
}

export class Jobs {
  constructor(scriptId, given, changed) {
    Object.assign(this, { scriptId, title: scriptId || "Jobs", form: new Form(scriptId, changed) });
    this.given = { scriptId, status: given.get("status") ?? "", before: given.get("before") };
  }

  async load(scripts) {
    this.script = scripts.find(({ id }) => id === this.scriptId);
    this.hasScripts = scripts.length > 0;
    this.page = await list(this.given);
    return { page: this.page, busy: scripts.some(({ running, queued }) => running + queued) };
  }

  render() {
    const { scriptId, page, given: { status, before } } = this, heading = h("h1", { tabindex: -1 }, this.title);
    if (!page && !this.refused) return [heading];
    const filters = Object.entries({ "": "All", ...STATUSES }).map(([word, name]) =>
      h("li", {}, h("a", { href: link(scriptId, { status: word }), "aria-current": word === status && "true" }, name)));
    const rows = this.refused ? [] : page.jobs.map((job) => row(job, !scriptId));
    return [
      heading,
      ...(scriptId ? this.#about() : []),
      h("ul.filter", { key: "filter", "aria-label": "Jobs of which status" }, filters),
      rows.length
        ? h("ol.jobs card", { key: "jobs", "aria-label": "Jobs, the newest first" }, rows)
        : h("p.empty card", { key: "empty" }, this.#empty()),
      h("p.pages", {},
        before && h("a", { key: "newest", href: link(scriptId, { status }) }, "← Newest"),
        page?.next && h("a", { key: "older", href: link(scriptId, { status, before: page.next }) }, "Older →")),
    ];
  }

  #about(script = this.script) {
    if (!script) return [h("p.lead", {}, "It is not in the configuration any more. Its jobs are still here.")];
    const limit = script.timeoutSec ? `time limit ${duration(script.timeoutSec * 1000, 0)}` : "no time limit";
    const where = script.agents !== null && script.labels.length > 0 && ` · only on agents with ${script.labels.join(", ")}`;
    const facts = [limit, script.maxConcurrent && ` · at most ${script.maxConcurrent} at once`, where];
    const waits = script.agents === 0 && "No agent can run it now: its jobs wait until one can.";
    return [h("p.lead", {}, script.description), h("p.muted", {}, facts), h("p.late", {}, waits),
      this.form.render(script.args), h("h2", {}, "Jobs")];
  }

  #empty() {
    const { scriptId, refused, given: { status, before } } = this;
    if (refused || before) return refused ?? "There are no older jobs.";
    if (status) return `No job here is “${STATUSES[status] ?? status}”. “All” shows the others.`;
    if (scriptId) return "It has not run yet. Run it to see its output.";
    return this.hasScripts ? "No job has run yet. Choose a script and run it." : "There is no script yet. List one in scripts.json.";
  }
}

function row(job, isNamed) {
  const args = job.args.length || isNamed ? chips(job.args) : h("span.chips muted", {}, "no arguments");
  const name = isNamed && h("span.name", {}, job.scriptId);
  const parts = [badge(job.status), name, args, h("span.took", {}, [job.worker, took(job)].filter(Boolean).join(" · ")), ago(job.createdAt)];
  return h("li", { key: job.jobId }, h("a", { href: jobLink(job.jobId) }, parts));
}
