// The integrations: how each does, what keeps it back, and what can be done about it.

import { change } from "./api.js";
import { look } from "./address.js";
import { announce, byId, h, showDialog } from "./dom.js";
import { Charts } from "./chart.js";
import { count, fromNow, milliseconds, share, time } from "./words.js";

const WAITING = ["pending", "sending", "retrying"];
const charts = new Map();

/**
 * Show the integrations.
 *
 * @param all what there is
 * @param activities the attempts of each, in the same order
 * @param changed called when one has been changed
 */
export function showIntegrationsView(all, activities, changed) {
  const view = byId("integrations");
  const focused = view.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  view.replaceChildren(
    h("h2", { class: "hidden" }, "Integrations"),
    all.length ? h("div", { class: "cards" }, all.map((one) => card(one, changed))) : nothing(),
  );
  all.forEach((one, place) => chartsOf(one).show(activities[place]));
  if (focused) view.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

/** Say above everything what is held or paused. */
export function showKeptBack(all, changed) {
  const lines = all.filter((one) => one.held_at || one.paused_at).map((one) =>
    h("div", { class: "notice warning" },
      h("span", null, why(one)),
      one.may_change ? h("button", { type: "button", class: "button", onclick: () => resume(one, changed) }, "Resume") : null));
  byId("kept-back").replaceChildren(...lines);
}

function chartsOf({ name }) {
  if (!charts.has(name)) charts.set(name, new Charts(h("div", { class: "charts" })));
  return charts.get(name);
}

function nothing() {
  return h("div", { class: "empty" },
    h("p", null, "No lead has been sent yet."),
    h("p", { class: "quiet" }, "An integration is a connection of type “ZBL Webhook”; it appears here after the first run that sends to it."));
}

function card(one, changed) {
  const sum = Object.values(one.counts).reduce((all, some) => all + some, 0);
  const waiting = WAITING.reduce((all, status) => all + one.counts[status], 0);
  const figures = [
    ["Found", count(sum)],
    ["Delivered", count(one.counts.delivered), share(one.counts.delivered, sum)],
    ["Waiting", count(waiting)],
    ["Error", count(one.counts.error), share(one.counts.error, sum)],
    ["p50", milliseconds(one.p50_ms)],
    ["p95", milliseconds(one.p95_ms)],
  ];
  return h("article", { class: "card", "data-name": one.name, "aria-label": one.name },
    h("header", null, h("h3", null, one.name), h("span", { class: `badge ${mood(one)[0]}` }, mood(one)[1])),
    one.held_at || one.paused_at ? h("p", { class: "quiet" }, why(one)) : null,
    h("dl", { class: "figures" }, figures.map(([name, value, part]) =>
      h("div", null, h("dt", null, name), h("dd", null, value, part ? h("small", null, ` ${part}`) : null)))),
    chartsOf(one).box,
    h("div", { class: "actions" },
      h("button", { type: "button", class: "button", "data-focus": `show-${one.name}`, onclick: () => { look({ view: "deliveries", integration: one.name }); changed(); } }, "Show deliveries"),
      ...(one.may_change ? controls(one, changed) : [])));
}

function mood(one) {
  if (one.held_at) return ["retrying", "Held"];
  return one.paused_at ? ["error", "Paused"] : ["delivered", "Active"];
}

function why(one) {
  if (one.held_at) {
    return `${one.name} is held by ${one.held_by} since ${time(one.held_at)} (${fromNow(one.held_at)}): its leads are recorded and go out when it is resumed.`;
  }
  return `${one.name} is paused since ${time(one.paused_at)}: it answered ${one.paused_status} again and again. Correct the connection; the next run tries one lead first.`;
}

function controls(one, changed) {
  const kept = one.held_at || one.paused_at;
  return [
    kept
      ? h("button", { type: "button", class: "button primary", "data-focus": `hold-${one.name}`, onclick: () => resume(one, changed) }, "Resume")
      : h("button", { type: "button", class: "button", "data-focus": `hold-${one.name}`, onclick: () => hold(one, changed) }, "Hold…"),
    one.may_test && h("button", { type: "button", class: "button", "data-focus": `test-${one.name}`, onclick: (event) => test(one, event.currentTarget) }, "Send test lead"),
  ].filter(Boolean);
}

const path = (one, act) => `integrations/${encodeURIComponent(one.name)}/${act}`;

function hold(one, changed) {
  const go = h("button", { type: "button", class: "button primary" }, "Hold");
  const dialog = question(`Hold ${one.name}?`,
    ["Nothing is sent to it until somebody resumes it. Leads are recorded meanwhile; what is being sent at this moment is finished."], go);
  go.addEventListener("click", async () => {
    dialog.close();
    await act(one, "hold", changed);
  });
}

const resume = (one, changed) => act(one, "resume", changed);

async function act(one, what, changed) {
  try {
    const { message } = await change(path(one, what));
    announce(what === "resume" ? `${message} The next run sends what was held.` : message);
  } catch (problem) {
    question(`${one.name} is as it was`, [problem.message]);
  }
  changed();
}

async function test(one, button) {
  button.disabled = true;
  button.textContent = "Sending…";
  let lines;
  let title = "Test lead";
  try {
    const { delivered, message } = await change(path(one, "test"));
    title = delivered ? "Test lead delivered" : "Test lead not delivered";
    lines = [message];
  } catch (problem) {
    lines = [problem.message];
  }
  button.disabled = false;
  button.textContent = "Send test lead";
  question(title, lines);
}

function question(title, lines, go) {
  const close = h("button", { type: "button", class: "button" }, go ? "Cancel" : "Close");
  const dialog = h("dialog", { class: "question", "aria-labelledby": "question" },
    h("h2", { id: "question" }, title), lines.map((text) => h("p", null, text)),
    h("div", { class: "actions" }, close, go));
  close.addEventListener("click", () => dialog.close());
  showDialog(dialog);
  (go ?? close).focus();
  return dialog;
}
