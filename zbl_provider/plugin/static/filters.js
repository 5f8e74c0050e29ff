// The filters above the list.

import { isFiltered, look, PERIODS, state, unfilter } from "./address.js";
import { change } from "./api.js";
import { byId, h } from "./dom.js";
import { t } from "./language.js";
import { STATUSES } from "./words.js";

const form = /** @type {HTMLFormElement} */ (byId("filters"));
const fields = /** @type {Record<string, any> & Iterable<any>} */ (/** @type {unknown} */ (form.elements));
const TYPING_MS = 400;
let runShown = ofRun();
let typing;
let searches = 0; // what was typed last counts, however late an answer comes
let searching = false;
let person = ""; // the email that was asked for; kept nowhere else

/** Show the filters, and tell when they change, or what is wrong. */
export function startFilters(changed, failed) {
  const options = (entries) => entries.map(([value, text]) => h("option", { value }, text));
  fields.status.append(...options([["", t("All")], ...Object.entries(STATUSES)]));
  fields.period.append(...options(Object.entries(PERIODS).map(([key, [text]]) => [key, text])));
  showIntegrations([]);
  form.addEventListener("submit", (event) => event.preventDefault());
  // A lead is named whole. What is half typed may be a part of an email, and is asked for nowhere.
  fields.lead.addEventListener("change", (event) => takeLead(event.target.value.trim()).then(changed, failed));
  form.addEventListener("input", (event) => {
    if (event.target === fields.lead && fields.lead.value) return;
    const typed = event.target instanceof HTMLInputElement;
    clearTimeout(typing);
    typing = setTimeout(() => take(event.target, changed), typed ? TYPING_MS : 0);
  });
  byId("reset").addEventListener("click", () => {
    resetFilters();
    changed();
  });
  byId("more").addEventListener("click", () => {
    runShown = !runShown;
    showFilters();
    if (runShown) fields.dag.focus();
  });
  showFilters();
}

/** @returns {NodeListOf<HTMLElement>} */
const elements = (selector) => form.querySelectorAll(selector);

/** Show all again. */
export function resetFilters() {
  endSearch();
  unfilter();
}

function endSearch() {
  searches += 1;
  searching = false;
}

function take(field, changed) {
  if (field === fields.lead) endSearch();
  look({ [field.name]: field.value.trim(), ...(field.name === "lead" ? { email_hash: "" } : {}) });
  changed();
}

/** Look for a lead by its ID, or for a person by email: addresses get its hash alone. */
async function takeLead(text) {
  endSearch();
  if (!text.includes("@")) return look({ lead: text, email_hash: "" });
  const mine = searches;
  searching = true;
  try {
    const { email_hash } = await change("email-hash", { email: text });
    if (mine !== searches) return;
    person = text;
    look({ lead: "", email_hash });
  } finally {
    if (mine === searches) searching = false;
  }
}

/** The email that was asked for on this page; unknown where an address brought its hash. */
export const emailAskedFor = () => (state.email_hash ? person : "");

/** Show what is filtered by. */
export function showFilters() {
  for (const field of fields) {
    if (field === fields.lead && searching) continue; // what it finds is not known yet
    if (field.name && document.activeElement !== field) field.value = state[field.name];
  }
  if (state.email_hash && document.activeElement !== fields.lead) fields.lead.value = person || "•••@•••";
  const show = (kind, shown) => elements(`.${kind}`).forEach((one) => { one.hidden = !shown; });
  const all = state.view === "deliveries";
  for (const label of elements("label")) label.hidden = !all && !label.querySelector("[name=period]");
  for (const actions of elements(".filter-actions")) actions.hidden = !all;
  runShown ||= ofRun();
  show("custom", state.period === "custom");
  show("more", all && runShown);
  byId("more").textContent = runShown ? t("Fewer filters") : t("Filter by run");
  byId("more").setAttribute("aria-expanded", String(runShown));
  byId("reset").hidden = !isFiltered();
}

/** Offer the integrations that there are. */
export function showIntegrations(names) {
  const known = new Set(names);
  if (state.integration) known.add(state.integration); // shared by somebody who sees more
  const field = fields.integration;
  const options = [["", t("All")], ...[...known].sort().map((name) => [name, name])];
  field.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
  field.value = state.integration;
}

function ofRun() {
  return Boolean(state.dag || state.task || state.run || state.map);
}
