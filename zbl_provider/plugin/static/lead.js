// One lead: where it stands, why, and all attempts at it.

import { read, taskAddress } from "./api.js";
import { look, state } from "./address.js";
import { h, showDialog } from "./dom.js";
import { badge, isSendable } from "./list.js";
import { askToResend } from "./resend.js";
import { answer, fromNow, milliseconds, OPEN, time } from "./words.js";

const OFTEN_MS = 3000;
let dialog = null;

/** Show the lead that the address names, if it names one. */
export async function showLead(changed) {
  if (!state.open || dialog) return;
  dialog = h("dialog", { class: "drawer", "aria-labelledby": "lead-title" }, h("p", { class: "quiet" }, "Loading…"));
  dialog.addEventListener("close", () => {
    dialog = null;
    look({ open: "" });
  });
  showDialog(dialog);
  await load(dialog, changed);
}

async function load(into, changed) {
  let again;
  try {
    const lead = await read(`deliveries/${state.open}`);
    if (into.dataset.shown !== JSON.stringify(lead)) draw(into, lead, changed);
    again = OPEN.includes(lead.status);
  } catch (problem) {
    into.replaceChildren(head("Lead", into), h("p", { class: "notice error", role: "alert" }, problem.message));
  }
  if (again && into.open) setTimeout(() => into.open && load(into, changed), OFTEN_MS);
}

function draw(into, lead, changed) {
  const focused = into.dataset.shown ? document.activeElement?.dataset?.focus : "close";
  const unfolded = into.querySelectorAll("details[open]").length > 0;
  into.dataset.shown = JSON.stringify(lead);
  into.replaceChildren(
    head(lead.lead_id, into),
    h("div", { class: "drawer-body" },
      h("p", { class: "where" }, badge(lead.status), ` with ${lead.integration}`),
      sentence(lead),
      facts(lead),
      buttons(lead, into, changed),
      h("h3", null, "Attempts"),
      attempts(lead, unfolded)),
  );
  into.querySelector(`[data-focus="${focused}"]`)?.focus();
}

function head(title, into) {
  return h("header", { class: "drawer-head" },
    h("h2", { id: "lead-title" }, title),
    h("button", { type: "button", class: "button plain", "data-focus": "close", "aria-label": "Close", onclick: () => into.close() }, "✕"));
}

function sentence(lead) {
  const text = {
    pending: lead.due_at ? "It is to be sent." : "",
    sending: "A task is sending it.",
    retrying: lead.due_at ? `Attempt ${lead.attempts + 1} is due ${fromNow(lead.due_at)}, at ${time(lead.due_at)}.` : "",
    filtered: "It was kept back, and goes out only if the lead or the filters change.",
    invalid: "It cannot be sent as it is. Correct the row, and let its task find it again.",
  }[lead.status];
  return [lead.reason, text].filter(Boolean).map((one) => h("p", { class: one === lead.reason ? "reason" : "" }, one));
}

function facts(lead) {
  const links = h("span", { class: "links" },
    h("a", { href: taskAddress(lead.run, "/details"), "data-leave": true }, "Task instance"),
    h("a", { href: taskAddress(lead.run), "data-leave": true }, "Log"));
  const mapped = lead.run.map_index >= 0 ? ` [${lead.run.map_index}]` : "";
  const known = {
    Found: time(lead.created_at),
    Delivered: time(lead.delivered_at),
    "Last change": time(lead.updated_at),
    Resent: lead.resend ? `${lead.resend} ×` : "",
    "webhook-id": h("code", null, lead.webhook_id),
    Dag: lead.run.dag_id,
    Task: `${lead.run.task_id}${mapped}`,
    Run: lead.run.run_id,
    Open: links,
  };
  return h("dl", { class: "facts" },
    Object.entries(known).filter(([, value]) => value).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function buttons(lead, into, changed) {
  if (!isSendable(lead)) {
    const allowed = lead.may_resend || !["error", "delivered"].includes(lead.status);
    return allowed ? null : h("p", { class: "quiet" }, "You may not edit this lead's Dag, so you can't resend it.");
  }
  if (!lead.sendable) return h("p", { class: "quiet" }, "Its data has been cleared from the log, so it can't be resent.");
  const resend = async () => {
    if (await askToResend({ rows: [lead] })) {
      changed();
      await load(into, changed);
    }
  };
  return h("div", { class: "actions" },
    h("button", { type: "button", class: "button primary", "data-focus": "resend", onclick: resend }, "Resend…"));
}

function attempts(lead, unfolded) {
  if (!lead.attempts_made.length) return h("p", { class: "quiet" }, "None was made.");
  return h("ol", { class: "attempts", reversed: true },
    [...lead.attempts_made].reverse().map((one) => attempt(one, unfolded)));
}

function attempt(one, unfolded) {
  const good = one.status_code >= 200 && one.status_code < 300;
  const again = one.resend ? `, resend ${one.resend}` : "";
  return h("li", { class: good ? "good" : "bad" },
    h("div", { class: "attempt-head" },
      h("strong", null, `Attempt ${one.number}${again}`),
      h("span", { class: `outcome ${good ? "delivered" : "error"}` }, answer(one.status_code, one.kind)),
      h("span", { class: "quiet" }, `${time(one.started_at)} · ${milliseconds(one.duration_ms)}`)),
    one.detail && !good ? h("p", null, one.detail) : null,
    one.excerpt
      ? h("details", { open: unfolded }, h("summary", null, "Answer"), h("pre", { tabindex: "0" }, one.excerpt))
      : null);
}
