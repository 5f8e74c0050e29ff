// The integrations: how each does, what keeps it back, and what can be done about it.

import { change, read } from "./api.js";
import { look } from "./address.js";
import { announce, byId, focusedElement, focusOn, h, showDialog } from "./dom.js";
import { Charts } from "./chart.js";
import { t } from "./language.js";
import { count, fromNow, milliseconds, share, time } from "./words.js";

const WAITING = ["pending", "sending", "retrying"];
// What reads a connection may be slow, so it is asked seldom.
const ACTIVE_MS = 60_000;
const charts = new Map();
const connections = new Map();
const shown = new Map();

/**
 * Show the integrations.
 *
 * @param {any[]} all what there is
 * @param {any[]} activities the attempts of each, in the same order
 * @param {() => void} changed called when one has been changed
 */
export function showIntegrationsView(all, activities, changed) {
  const view = byId("integrations");
  all.forEach((one) => shown.set(one.name, one));
  const focused = view.contains(document.activeElement) ? focusedElement()?.dataset.focus : null;
  view.replaceChildren(
    h("h2", { class: "hidden" }, t("Integrations")),
    all.length ? h("div", { class: "cards" }, all.map((one) => card(one, changed))) : nothing(),
  );
  all.forEach((one, place) => chartsOf(one).show(activities[place]));
  if (focused) focusOn(view, `[data-focus="${CSS.escape(focused)}"]`);
  all.forEach((one) => lookAtConnection(one, view));
}

async function lookAtConnection(one, view) {
  const known = connections.get(one.name);
  if (known && Date.now() - known.asked < ACTIVE_MS) return;
  connections.set(one.name, { active: known?.active, asked: Date.now() });
  const { active } = await read(path(one, "active")).catch(() => ({ active: null }));
  connections.set(one.name, { active, asked: Date.now() });
  // It may have been held, or resumed, meanwhile.
  view.querySelector(`[data-name="${CSS.escape(one.name)}"] .state`)?.replaceWith(state(shown.get(one.name)));
}

/** Say above everything what is held or paused. */
export function showKeptBack(all, changed) {
  const lines = all.filter(isKeptBack).map((one) =>
    h("div", { class: "notice warning" },
      h("span", null, sayWhy(one)),
      one.may_change ? h("button", { type: "button", class: "button", onclick: () => resume(one, changed) }, t("Resume")) : null));
  byId("kept-back").replaceChildren(...lines);
}

function chartsOf({ name }) {
  if (!charts.has(name)) charts.set(name, new Charts(h("div", { class: "charts" })));
  return charts.get(name);
}

function nothing() {
  return h("div", { class: "empty" },
    h("p", null, t("No lead has been sent yet.")),
    h("p", { class: "quiet" }, t("An integration is a connection of type “ZBL Webhook”; it appears here after the first run that sends to it.")));
}

function card(one, changed) {
  const sum = Object.values(one.counts).reduce((all, some) => all + some, 0);
  const waiting = WAITING.reduce((all, status) => all + one.counts[status], 0);
  const figures = [
    [t("Found"), count(sum)],
    [t("Delivered"), count(one.counts.delivered), share(one.counts.delivered, sum)],
    [t("Waiting"), count(waiting)],
    [t("Error"), count(one.counts.error), share(one.counts.error, sum)],
    ["p50", milliseconds(one.p50_ms)],
    ["p95", milliseconds(one.p95_ms)],
  ];
  return h("article", { class: "card", "data-name": one.name, "aria-label": one.name },
    state(one),
    h("dl", { class: "figures" }, figures.map(([name, value, part]) =>
      h("div", null, h("dt", null, name), h("dd", null, value, part ? h("small", null, ` ${part}`) : null)))),
    chartsOf(one).box,
    h("div", { class: "actions" },
      h("button", { type: "button", class: "button", "data-focus": `show-${one.name}`, onclick: () => { look({ view: "deliveries", integration: one.name }); changed(); } }, t("Show deliveries")),
      ...(one.may_change ? controls(one, changed) : [])));
}

/** Tell how an integration does; that it is active only where its connection says so. */
function state(one) {
  const [colour, word] = mood(one);
  const why = isKeptBack(one) ? sayWhy(one) : isInactive(one) ? sayInactive(one.name) : "";
  return h("div", { class: "state" },
    h("header", null, h("h3", null, one.name), word ? h("span", { class: `badge ${colour}` }, word) : null),
    why ? h("p", { class: "quiet" }, why) : null);
}

const isInactive = ({ name }) => connections.get(name)?.active === false;

/** Say that a connection lets nothing out. */
export const sayInactive = (name) =>
  t("The connection {name} is not active: nothing goes out to it before that is changed.", { name });

export const isKeptBack = (one) => Boolean(one.held_at || one.paused_at || one.down_since);

function mood(one) {
  if (one.held_at) return ["retrying", t("Held")];
  if (one.down_since) return ["error", t("Down")];
  if (one.paused_at) return ["error", t("Paused")];
  if (isInactive(one)) return ["retrying", t("Inactive")];
  return connections.get(one.name)?.active ? ["delivered", t("Active")] : [];
}

/** Say what keeps an integration's leads back. */
export function sayWhy(one) {
  if (one.held_at) {
    return t("{name} has been held by {who} since {time} ({when}): its leads are recorded and go out when it is resumed.",
      { name: one.name, who: one.held_by, time: time(one.held_at), when: fromNow(one.held_at) });
  }
  if (one.down_since) {
    return t("{name} has been down since {time}: {why} What waits is kept; the next run tries one lead first.",
      { name: one.name, time: time(one.down_since), why: `${one.down_reason}.` });
  }
  return t("{name} has been paused since {time}: it answered {status} again and again. Correct the connection; the next run tries one lead first.",
    { name: one.name, time: time(one.paused_at), status: one.paused_status });
}

function controls(one, changed) {
  const kept = isKeptBack(one);
  return [
    kept
      ? h("button", { type: "button", class: "button primary", "data-focus": `hold-${one.name}`, onclick: () => resume(one, changed) }, t("Resume"))
      : h("button", { type: "button", class: "button", "data-focus": `hold-${one.name}`, onclick: () => hold(one, changed) }, t("Hold…")),
    one.may_test && h("button", { type: "button", class: "button", "data-focus": `test-${one.name}`, onclick: (event) => test(one, event.currentTarget) }, t("Send test lead")),
  ].filter(Boolean);
}

const path = (one, what) => `integrations/${encodeURIComponent(one.name)}/${what}`;

function hold(one, changed) {
  const go = h("button", { type: "button", class: "button primary" }, t("Hold"));
  const dialog = question(t("Hold {name}?", { name: one.name }),
    [t("Nothing is sent to it until somebody resumes it. Leads are recorded meanwhile; what is being sent at this moment is finished.")], go);
  go.addEventListener("click", async () => {
    dialog.close();
    await act(one, "hold", changed);
  });
}

const resume = (one, changed) => act(one, "resume", changed);

async function act(one, what, changed) {
  try {
    await change(path(one, what));
    announce(what === "resume"
      ? t("{name} is resumed. The next run sends what was held.", { name: one.name })
      : t("{name} is held.", { name: one.name }));
  } catch (problem) {
    question(t("{name} was not changed", { name: one.name }), [problem.message]);
  }
  changed();
}

async function test(one, button) {
  button.disabled = true;
  button.textContent = t("Sending…");
  let lines;
  let title = t("Test lead");
  try {
    const { delivered, message } = await change(path(one, "test"));
    title = delivered ? t("Test lead delivered") : t("Test lead not delivered");
    lines = [message];
  } catch (problem) {
    lines = [problem.message];
  }
  button.disabled = false;
  button.textContent = t("Send test lead");
  question(title, lines);
}

function question(title, lines, go) {
  const close = h("button", { type: "button", class: "button" }, go ? t("Cancel") : t("Close"));
  const dialog = h("dialog", { class: "question", "aria-labelledby": "question" },
    h("h2", { id: "question" }, title), lines.map((text) => h("p", null, text)),
    h("div", { class: "actions" }, close, go));
  close.addEventListener("click", () => dialog.close());
  showDialog(dialog);
  (go ?? close).focus();
  return dialog;
}
