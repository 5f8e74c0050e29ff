// Brings the parts of the page together: what is asked, when, and what is shown of it.

import { fileAddress, passes, read } from "./api.js";
import { filter, isFiltered, keepLook, look, state } from "./address.js";
import { Charts } from "./chart.js";
import { announce, byId, h } from "./dom.js";
import { emailAskedFor, resetFilters, showFilters, showIntegrations, startFilters } from "./filters.js";
import { releaseLinks } from "./frame.js";
import { showFunnel } from "./funnel.js";
import { showIntegrationsView, showKeptBack } from "./integrations.js";
import { t, translatePage } from "./language.js";
import { showLead } from "./lead.js";
import { selected, showList, showPages, startList, unselect } from "./list.js";
import { askToResend, askToSendNow, noteIntegrations } from "./resend.js";
import { count, leads, STATUSES, time, zoneName } from "./words.js";

const OFTEN_MS = 3000; // while leads are being sent
const SELDOM_MS = 15000; // while leads wait for their next attempt
const AWAY_MS = 5000; // while the log, or Airflow, does not answer
const BUCKETS = 56;
const charts = new Charts(byId("charts"));
const VIEWS = ["deliveries", "integrations"];

let timer;
let asking = 0;
let seen = { counts: null, resendable: 0, waiting: 0 };

/** Ask for all that is shown. What was asked later wins. */
async function refresh({ quietly = false } = {}) {
  clearTimeout(timer);
  const mine = ++asking;
  const started = Date.now();
  showFilters();
  showView();
  if (!quietly) document.body.setAttribute("aria-busy", "true");
  try {
    const found = await ask();
    if (mine !== asking) return;
    show(found, quietly);
    askAgain(pace(found.funnel, Date.now() - started));
  } catch (problem) {
    if (mine === asking) showProblem(problem);
  } finally {
    if (mine === asking) document.body.removeAttribute("aria-busy");
  }
}

/** Ask anew after a while, once somebody looks; never where nothing will change by itself. */
function askAgain(after) {
  clearTimeout(timer);
  if (after) timer = setTimeout(() => (document.hidden ? arm() : refresh({ quietly: true })), after);
}

/** Say what is wrong; what was shown before stays, and is out of date. */
function showProblem(problem) {
  const away = passes(problem);
  askAgain(away ? AWAY_MS : SELDOM_MS);
  document.body.classList.toggle("away", away);
  byId("problem").replaceChildren(
    h("span", null, problem.message),
    away ? h("span", { class: "quiet" }, ` ${t("This page tries again by itself.")}`) : "");
  byId("problem").hidden = false;
  if (!seen.counts) byId("list").replaceChildren();
}

/** Wait until somebody looks. */
function arm() {
  document.addEventListener("visibilitychange", () => refresh({ quietly: true }), { once: true });
}

async function ask() {
  const integrations = read("integrations", { since: filter().since });
  return state.view === "integrations" ? askIntegrations(await integrations) : askDeliveries(integrations);
}

async function askIntegrations(integrations) {
  const { since, until } = filter();
  const activities = integrations.map(({ name }) => read("activity", { integration: name, since, until, buckets: BUCKETS }));
  return { integrations, activities: await Promise.all(activities), funnel: added(integrations) };
}

const added = (integrations) =>
  Object.fromEntries(Object.keys(STATUSES).map((status) => [status, integrations.reduce((sum, one) => sum + one.counts[status], 0)]));

async function askDeliveries(asked) {
  const [page, funnel, activity, integrations] = await Promise.all([
    read("deliveries", { ...filter(), before: state.before }),
    read("funnel", filter()),
    read("activity", { ...filter(), buckets: BUCKETS }),
    asked,
  ]);
  const [resendable, waiting] = await Promise.all([
    funnel.error ? read("resendable", filter()) : { count: 0 },
    funnel.pending + funnel.retrying ? read("waiting", filter()) : { count: 0 },
  ]);
  return { page, funnel, activity, integrations, resendable: resendable.count, waiting: waiting.count };
}

/** How long to wait before asking again; null when nothing will change by itself. */
function pace(counts, took) {
  const often = counts.pending + counts.sending > 0;
  if (!often && !counts.retrying) return null;
  // A log so large that answers take long is asked less.
  return Math.max(often ? OFTEN_MS : SELDOM_MS, 10 * took);
}

const link = (id) => /** @type {HTMLAnchorElement} */ (byId(id));

function show(found, quietly) {
  const { integrations } = found;
  byId("problem").hidden = true;
  document.body.classList.remove("away");
  noteIntegrations(integrations);
  showIntegrations(integrations.map((one) => one.name));
  showKeptBack(integrations, refresh);
  byId("updated").textContent = t("Updated {time}, times in {zone}", { time: time(new Date()).slice(11), zone: zoneName });
  link("own-tab").href = new URL(`../${window.location.search}`, import.meta.url).href;
  if (state.view === "integrations") showIntegrationsView(integrations, found.activities, refresh);
  else showDeliveries(found, quietly);
}

function showDeliveries({ page, funnel, activity, integrations, resendable, waiting }, quietly) {
  seen = { counts: funnel, resendable, waiting };
  const found = showFunnel(funnel, refresh);
  charts.show(activity);
  showList(page.rows, emptiness(integrations));
  showPages(page.next, refresh);
  showActions();
  const number = state.status ? funnel[state.status] : found;
  byId("list-title").textContent = state.status ? `${leads(number)} · ${STATUSES[state.status]}` : leads(number);
  link("export").href = fileAddress("deliveries.csv", filter());
  if (!quietly) announce(t("{title}, {count} shown, newest first.", { title: byId("list-title").textContent, count: page.rows.length }));
}

function emptiness(integrations) {
  if (state.before) return h("div", { class: "empty" }, h("p", null, t("There are no older leads.")));
  if (!integrations.length) {
    return h("div", { class: "empty" },
      h("p", null, t("No lead has been sent yet.")),
      h("p", { class: "quiet" }, t("Run a Dag with a DispatchLeadsOperator: its leads appear here as soon as they are found.")));
  }
  const reset = h("button", { type: "button", class: "button", onclick: () => { resetFilters(); refresh(); } }, t("Reset filters"));
  if (state.email_hash) return noPerson(reset);
  return h("div", { class: "empty" },
    h("p", null, state.lead ? t("No lead with the ID “{lead}” was found in this period.", { lead: state.lead }) : t("No lead was found with these filters.")),
    isFiltered() ? reset : h("p", { class: "quiet" }, t("Choose a longer period to see older ones.")));
}

function noPerson(reset) {
  const email = emailAskedFor();
  const asId = h("button", { type: "button", class: "button", onclick: () => { look({ lead: email, email_hash: "" }); refresh(); } }, t("Look for it as a lead ID"));
  return h("div", { class: "empty" },
    h("p", null, t("No lead with this email was found in this period.")),
    h("p", { class: "quiet" }, t("Leads that were kept back, and those whose data was cleared, are found by their ID alone.")),
    h("div", { class: "actions" }, reset, email ? asId : ""));
}

function showActions() {
  const chosen = [...selected.values()];
  const box = byId("list-actions");
  const focused = box.contains(document.activeElement);
  box.replaceChildren(...(chosen.length ? forChosen(chosen) : forAll()));
  if (focused) (/** @type {HTMLElement | null} */ (box.querySelector(".primary")) ?? byId("refresh")).focus();
}

function forChosen(chosen) {
  const resend = async () => {
    if (await askToResend({ rows: chosen })) unselect();
    refresh();
  };
  return [
    h("button", { type: "button", class: "button plain", onclick: unselect }, t("Unselect")),
    h("button", { type: "button", class: "button primary", onclick: resend }, t("Resend {count} selected…", { count: count(chosen.length) })),
  ];
}

function forAll() {
  // Counted anew: what is asked is what is meant.
  const counted = async (route, askFor) => {
    const given = filter({ withStatus: false });
    try {
      const { count: number } = await read(route, given);
      await askFor({ filter: given, number });
      refresh();
    } catch (problem) {
      showProblem(problem);
    }
  };
  const resend = () => counted("resendable", askToResend);
  const sendNow = () => counted("waiting", askToSendNow);
  return [
    seen.waiting && h("button", { type: "button", class: "button", onclick: sendNow }, t("Send what waits now ({count})…", { count: count(seen.waiting) })),
    seen.resendable && h("button", { type: "button", class: "button primary", onclick: resend }, t("Resend all in error ({count})…", { count: count(seen.resendable) })),
  ].filter(Boolean);
}

function showView() {
  for (const view of VIEWS) {
    const tab = byId(`tab-${view}`);
    const chosen = state.view === view;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(view).hidden = !chosen;
  }
  byId("export").hidden = state.view !== "deliveries";
}

function startTabs() {
  for (const view of VIEWS) {
    byId(`tab-${view}`).addEventListener("click", () => {
      look({ view });
      refresh();
    });
    byId(`tab-${view}`).addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = VIEWS.find((one) => one !== view);
      byId(`tab-${other}`).click();
      byId(`tab-${other}`).focus();
    });
  }
}

translatePage();
keepLook();
releaseLinks();
startTabs();
startList({ open: () => showLead(() => refresh({ quietly: true })), select: showActions });
startFilters(() => {
  unselect();
  refresh();
}, showProblem);
byId("refresh").addEventListener("click", () => refresh());
await refresh();
await showLead(() => refresh({ quietly: true }));
