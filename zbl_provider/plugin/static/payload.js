// What is sent of one lead: shown on request, and each look is recorded.

import { change } from "./api.js";
import { h, showDialog } from "./dom.js";
import { t } from "./language.js";

/** Ask for what is sent of a lead, and show it. */
export async function showPayload(lead) {
  const body = h("div", null, h("p", { class: "quiet" }, t("Loading…")));
  const close = h("button", { type: "button", class: "button" }, t("Close"));
  const dialog = h("dialog", { class: "question wide", "aria-labelledby": "payload" },
    h("h2", { id: "payload" }, t("What is sent of {lead}", { lead: lead.lead_id })), body, h("div", { class: "actions" }, close));
  close.addEventListener("click", () => dialog.close());
  showDialog(dialog);
  close.focus();
  try {
    body.replaceChildren(...described(await change(`deliveries/${lead.id}/payload`)));
  } catch (problem) {
    body.replaceChildren(h("p", { class: "notice error", role: "alert" }, problem.message));
  }
}

function described({ payload, headers, curl }) {
  return [
    h("p", { class: "quiet" }, t("Airflow's audit log records that you looked at this.")),
    h("pre", { tabindex: "0", "aria-label": t("Payload") }, indented(payload)),
    headers?.length ? h("p", null, t("Headers of the connection, without their values: {names}", { names: headers.join(", ") })) : null,
    curl
      ? h("details", null, h("summary", null, t("As a curl command; set its variables first")), h("pre", { tabindex: "0" }, curl))
      : h("p", { class: "quiet" }, t("The connection cannot be read, so there is no curl command.")),
  ].filter(Boolean);
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
