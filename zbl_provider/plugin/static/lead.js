// One lead: where it stands, why, and all attempts at it.

import { passes, read, taskAddress } from "./api.js";
import { look, state } from "./address.js";
import { focusedElement, focusOn, h, showDialog } from "./dom.js";
import { t } from "./language.js";
import { badge, isSendable, isWaiting } from "./list.js";
import { showPayload } from "./payload.js";
import { askToResend, askToSendNow } from "./resend.js";
import { answer, fromNow, milliseconds, OPEN, time } from "./words.js";

const OFTEN_MS = 3000;
const AWAY_MS = 5000; // while the log, or Airflow, does not answer
let dialog = /** @type {HTMLDialogElement | null} */ (null);

/** Show the lead that the address names, if it names one. */
export async function showLead(changed) {
  if (!state.open || dialog) return;
  const drawer = h("dialog", { class: "drawer", "aria-labelledby": "lead-title" }, h("p", { class: "quiet" }, t("Loading…")));
  dialog = drawer;
  drawer.addEventListener("close", () => {
    dialog = null;
    look({ open: "" });
  });
  showDialog(drawer);
  await load(drawer, changed);
}

async function load(into, changed) {
  let again;
  try {
    const lead = await read(`deliveries/${state.open}`);
    if (into.dataset.shown !== JSON.stringify(lead)) draw(into, lead, changed);
    again = OPEN.includes(lead.status) && OFTEN_MS;
  } catch (problem) {
    again = passes(problem) && AWAY_MS;
    // What was shown stays: the page behind it says what is wrong.
    if (!again || !into.dataset.shown)
      into.replaceChildren(head(t("Lead"), into), h("p", { class: "notice error", role: "alert" }, problem.message));
  }
  if (again && into.open) setTimeout(() => into.open && load(into, changed), again);
}

function draw(into, lead, changed) {
  const focused = into.dataset.shown ? focusedElement()?.dataset?.focus : "close";
  const unfolded = into.querySelectorAll("details[open]").length > 0;
  into.dataset.shown = JSON.stringify(lead);
  into.replaceChildren(
    head(lead.lead_id, into),
    h("div", { class: "drawer-body" },
      h("p", { class: "where" }, badge(lead.status), ` ${lead.integration}`),
      sentence(lead),
      facts(lead),
      buttons(lead, into, changed),
      h("h3", null, t("Attempts")),
      attempts(lead, unfolded)),
  );
  focusOn(into, `[data-focus="${focused}"]`);
}

function head(title, into) {
  return h("header", { class: "drawer-head" },
    h("h2", { id: "lead-title" }, title),
    h("button", { type: "button", class: "button plain", "data-focus": "close", "aria-label": t("Close"), onclick: () => into.close() }, "✕"));
}

function sentence(lead) {
  const text = {
    pending: lead.due_at ? t("It waits to be sent.") : "",
    sending: t("A task is sending it."),
    retrying: lead.due_at ? t("Attempt {number} is due {when}, at {time}.", { number: lead.attempts + 1, when: fromNow(lead.due_at), time: time(lead.due_at) }) : "",
    filtered: t("It was kept back, and goes out only if the lead or the filters change."),
    invalid: t("It cannot be sent as it is. Correct the row, and let its task find it again."),
  }[lead.status];
  return [lead.reason, text].filter(Boolean).map((one) => h("p", { class: one === lead.reason ? "reason" : "" }, one));
}

function facts(lead) {
  const links = h("span", { class: "links" },
    h("a", { href: taskAddress(lead.run, "/details"), "data-leave": true }, t("Task instance")),
    h("a", { href: taskAddress(lead.run), "data-leave": true }, t("Log")));
  const mapped = lead.run.map_index >= 0 ? ` [${lead.run.map_index}]` : "";
  const known = {
    [t("Found")]: time(lead.created_at),
    [t("Delivered")]: time(lead.delivered_at),
    [t("Last change")]: time(lead.updated_at),
    [t("Resent")]: lead.resend ? `${lead.resend} ×` : "",
    "webhook-id": h("code", null, lead.webhook_id),
    Dag: lead.run.dag_id,
    [t("Task")]: `${lead.run.task_id}${mapped}`,
    [t("Run")]: lead.run.run_id,
    [t("Open")]: links,
  };
  return h("dl", { class: "facts" },
    Object.entries(known).filter(([, value]) => value).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function buttons(lead, into, changed) {
  if (!lead.may_resend) return h("p", { class: "quiet" }, t("You may not clear this lead's task, so you can't resend it, or see its data."));
  if (!lead.sendable) return h("p", { class: "quiet" }, t("The log does not have its data, so it can't be sent or shown."));
  const after = async (done) => {
    if (!(await done)) return;
    changed();
    await load(into, changed);
  };
  const button = (name, text, onclick) =>
    h("button", { type: "button", class: `button ${name === "payload" ? "" : "primary"}`, "data-focus": name, onclick }, text);
  return h("div", { class: "actions" },
    isSendable(lead) && button("resend", t("Resend…"), () => after(askToResend({ rows: [lead] }))),
    isWaiting(lead) && button("send-now", t("Send now…"), () => after(askToSendNow({ rows: [lead] }))),
    button("payload", t("Show what is sent"), () => showPayload(lead)));
}

function attempts(lead, unfolded) {
  if (!lead.attempts_made.length) return h("p", { class: "quiet" }, t("No attempt was made."));
  return h("ol", { class: "attempts", reversed: true },
    [...lead.attempts_made].reverse().map((one) => attempt(one, unfolded)));
}

function attempt(one, unfolded) {
  const good = one.status_code >= 200 && one.status_code < 300;
  const again = one.resend ? `, ${t("resend {number}", { number: one.resend })}` : "";
  return h("li", { class: good ? "good" : "bad" },
    h("div", { class: "attempt-head" },
      h("strong", null, `${t("Attempt {number}", { number: one.number })}${again}`),
      h("span", { class: `outcome ${good ? "delivered" : "error"}` }, answer(one.status_code, one.kind)),
      h("span", { class: "quiet" }, `${time(one.started_at)} · ${milliseconds(one.duration_ms)}`)),
    one.detail && !good ? h("p", null, one.detail) : null,
    one.excerpt
      ? h("details", { open: unfolded }, h("summary", null, t("Answer")), h("pre", { tabindex: "0" }, one.excerpt))
      : null);
}
