// The form that runs a script. What it says of an argument is help; the runner decides.
import { call, jobLink } from "./api.js";
import { h } from "./dom.js";

const ANYTHING = String.raw`^[\s\S]*$`;
const drafts = new Map(); // what is written into the forms, by script: an argument a field

/** Have the form of a script begin with these arguments. */
export const prefill = (scriptId, args) => drafts.set(scriptId, args.map((value) => ({ value })));

export class Form {
  constructor(scriptId, changed) {
    Object.assign(this, { scriptId, changed });
  }

  render(rule) {
    const { itemMaxLength, itemPattern, maxItems } = rule;
    if (!drafts.has(this.scriptId)) prefill(this.scriptId, maxItems ? [""] : []);
    this.fields = drafts.get(this.scriptId);
    const pattern = itemPattern !== ANYTHING && [" and matches ", h("code", {}, itemPattern)];
    const most = maxItems === 1 ? "one argument. It" : `up to ${maxItems} arguments. Each`;
    const said = maxItems ? [`Takes ${most} has at most ${itemMaxLength} characters`, pattern || "."] : "Takes no arguments.";
    return h("form.card", { key: "form", "aria-label": `Run ${this.scriptId}`, onsubmit: (event) => this.#run(event) },
      h("p.muted", { id: "rule" }, said),
      this.fields.map((field, index) => this.#field(field, index, rule)),
      h("p.refusal", { role: "alert" }, this.refusal),
      h("div.actions", {},
        h("button.primary", { key: "run" }, this.isSending ? "Starting…" : `Run ${this.scriptId}`),
        this.fields.length < maxItems && h("button", { key: "add", type: "button", onclick: () => this.#add() }, "Add an argument")));
  }

  #field(field, index, rule) {
    const oninput = ({ target: { value } }) => {
      Object.assign(field, { value, hint: hint(value, rule) });
      this.changed();
    };
    const onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#run(event);
    };
    const described = { "aria-describedby": `rule hint-${index}`, "aria-invalid": field.hint && "true" };
    return h("div.field", { key: `field-${index}` },
      h("label", { for: `field-${index}` }, `Argument ${index + 1}`),
      h("textarea", { id: `field-${index}`, rows: 1, spellcheck: "false", oninput, onkeydown, ...described }, field.value),
      h("p.hint", { id: `hint-${index}` }, field.hint));
  }

  #add() {
    const added = `field-${this.fields.push({ value: "" }) - 1}`;
    this.changed();
    document.getElementById(added).focus();
  }

  async #run(event) {
    event.preventDefault();
    if (this.isSending) return;
    Object.assign(this, { isSending: true, refusal: null });
    this.changed();
    const values = this.fields.map(({ value }) => value);
    // Fields that are empty at the end are none.
    const args = values.slice(0, values.findLastIndex(Boolean) + 1);
    try {
      location.hash = jobLink((await call("run", { scriptId: this.scriptId, args, mode: "async" })).jobId);
    } catch ({ message, status }) {
      this.refusal = status ? message : `${message}: see whether the job is in the list before you run it again.`;
      document.getElementById(`field-${/^arg\[(\d+)\]/.exec(message)?.[1]}`)?.focus();
    }
    this.isSending = false;
    this.changed();
  }
}

function hint(value, { itemMaxLength, itemPattern }) {
  if (value.length > itemMaxLength) return `It has ${value.length} characters: ${itemMaxLength} are the most.`;
  return value && !new RegExp(itemPattern).test(value) ? "It does not match the pattern." : "";
}
