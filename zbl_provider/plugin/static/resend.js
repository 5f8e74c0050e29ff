// Sending again: asked first, marked in the log, and then the tasks are cleared.
//
// The leads are marked first. Should this page be closed in between, they are due all the same, and
// the next run that sends to their integration takes them along.

import { change, clear, Refusal } from "./api.js";
import { announce, h, showDialog } from "./dom.js";
import { isKeptBack, sayInactive, sayWhy } from "./integrations.js";
import { t } from "./language.js";
import { count, leads, tasks } from "./words.js";

const AT_ONCE = 4;
const keptBack = new Map();

/** Note which integrations are held, paused or down: what is resent to them waits. */
export function noteIntegrations(all) {
  keptBack.clear();
  for (const one of all.filter(isKeptBack)) keptBack.set(one.name, one);
}

/**
 * Ask, and resend.
 *
 * @param {object} what
 * @param {any[]} [what.rows] the leads; or else
 * @param {object} [what.filter] those in error that it finds, and
 * @param {number} [what.number] how many these are
 * @returns {Promise<boolean>} whether something was sent again
 */
export const askToResend = ({ rows, filter, number = rows?.length }) =>
  ask({
    title: number === 1 ? t("Resend 1 lead?") : t("Resend {count} leads?", { count: count(number) }),
    go: t("Resend"),
    words: explain(rows, number),
    act: (progress) => act(RESEND, rows ? { ids: rows.map((row) => row.id) } : { filter }, progress),
  });

/**
 * Ask, and have leads that wait be sent now.
 *
 * @param {{ rows?: any[], filter?: object, number?: number }} what as above
 */
export const askToSendNow = ({ rows, filter, number = rows?.length }) =>
  ask({
    title: number === 1 ? t("Send 1 lead now?") : t("Send {count} leads now?", { count: count(number) }),
    go: t("Send now"),
    words: [t("The next attempt is made at once; attempts that were made count."), ...inTheWayOf(rows)],
    act: (progress) => act(SEND_NOW, rows ? { ids: rows.map((row) => row.id) } : { filter }, progress),
  });

function ask({ title, go: name, words: lines, act: doIt }) {
  return new Promise((done) => {
    let changed = false;
    const go = h("button", { type: "button", class: "button primary" }, name);
    const cancel = h("button", { type: "button", class: "button" }, t("Cancel"));
    const words = h("div", { "aria-live": "polite" }, ...paragraphs(lines));
    const dialog = h("dialog", { class: "question", "aria-labelledby": "question" },
      h("h2", { id: "question" }, title), words, h("div", { class: "actions" }, cancel, go));
    cancel.addEventListener("click", () => dialog.close());
    go.addEventListener("click", async () => {
      go.disabled = true;
      const said = await doIt((text) => words.replaceChildren(...paragraphs([text])));
      changed = said.changed;
      words.replaceChildren(...paragraphs(said.lines));
      go.remove();
      cancel.textContent = t("Close");
      cancel.focus();
      announce(said.lines.join(" "));
    });
    dialog.addEventListener("close", () => done(changed));
    showDialog(dialog);
    go.focus();
  });
}

const paragraphs = (lines) => lines.map((text) => h("p", null, text));

function explain(rows, number) {
  const delivered = rows?.filter((row) => row.status === "delivered").length ?? 0;
  const one = number === 1;
  return [
    one
      ? t("It gets a new set of attempts, with the data in the log, under the same webhook-id.")
      : t("They get a new set of attempts, with the data in the log, under the same webhook-id."),
    one ? t("Its task is cleared, which sends it at once.") : t("Their tasks are cleared, which sends them at once."),
    delivered === 1 && t("One was delivered before: the receiver gets it again."),
    delivered > 1 && t("{count} of them were delivered before: the receiver gets them again.", { count: count(delivered) }),
    ...inTheWayOf(rows),
  ].filter(Boolean);
}

const inTheWayOf = (rows) =>
  [...new Set(rows?.map((row) => row.integration))].filter((name) => keptBack.has(name)).map((name) => sayWhy(keptBack.get(name)));

/** Mark leads step by step, then clear their tasks, and say what came of it. */
async function act({ mark, say }, what, progress) {
  const all = { count: 0, unsendable: 0, runs: /** @type {any[]} */ ([]), kept: new Set() };
  const problems = [];
  try {
    for await (const marked of mark(what)) {
      all.count += marked.count;
      all.unsendable = marked.unsendable;
      all.runs.push(...marked.runs);
      inTheWay(marked).forEach((line) => all.kept.add(line));
      progress(t("{leads} marked…", { leads: leads(all.count) }));
    }
  } catch (problem) {
    if (!(problem instanceof Refusal)) throw problem;
    problems.push(problem.message);
  }
  // Also where a later step failed: those that are marked are due, and nobody else may send them.
  const cleared = await clearTasks(all.runs, progress);
  const said = all.count || !problems.length ? say(all) : [];
  return { changed: all.count > 0, lines: [...problems, ...said, ...all.kept, ...cleared] };
}

const RESEND = { mark: markInError, say: told };
const SEND_NOW = { mark: markWaiting, say: hastened };

/** Mark leads in error, some thousands at a time. */
async function* markInError(what) {
  let left;
  do {
    const marked = await change("resend", what);
    yield marked;
    left = marked.count ? marked.left : 0;
  } while (left);
}

/** Have leads that wait be due now, some thousands at a time. */
async function* markWaiting(what) {
  let after = 0;
  do {
    const marked = await change("send-now", { ...what, after });
    yield marked;
    ({ after } = marked);
  } while (after);
}

function hastened({ count: number, kept }) {
  if (!number) return [t("No lead is waiting any more.")];
  return [kept.size ? t("Due now: {leads}.", { leads: leads(number) }) : t("Sent now: {leads}.", { leads: leads(number) })];
}

/** Say what keeps leads back that were marked: an integration that is held, paused or down, or a connection. */
const inTheWay = ({ kept_back, inactive }) => [
  ...kept_back.map(sayWhy),
  ...inactive.map(sayInactive),
];

function told({ count: number, unsendable }) {
  return [
    number ? t("To be sent again: {leads}.", { leads: leads(number) }) : t("No lead is sent again."),
    unsendable && t("Not sent, since the log no longer has the data: {leads}.", { leads: leads(unsendable) }),
  ].filter(Boolean);
}

/** Clear task instances, some runs at a time, and say what came of it. */
async function clearTasks(runs, progress) {
  const left = byRun(runs);
  const all = left.length;
  const found = { cleared: 0, running: 0, gone: 0, refused: new Map(), left: /** @type {any[]} */ ([]) };
  const worker = async () => {
    for (let group = left.pop(); group; group = left.pop()) {
      progress(t("Clearing tasks: run {number} of {all}…", { number: all - left.length, all }));
      await clearRun(group, found);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  // A later clear of these, by whomever, is to mean all their leads in error again.
  if (found.left.length) await change("forget", { runs: found.left }).catch(() => null);
  return summary(found);
}

function byRun(runs) {
  const groups = new Map();
  for (const run of runs) {
    const key = JSON.stringify([run.dag_id, run.run_id]);
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  return [...groups.values()];
}

async function clearRun(group, found) {
  const [{ dag_id, run_id }] = group;
  const ids = group.map((run) => (run.map_index < 0 ? run.task_id : [run.task_id, run.map_index]));
  try {
    const { task_instances: cleared } = await clear(dag_id, run_id, ids);
    const gone = group.filter((run) => !cleared.some((one) => one.task_id === run.task_id && one.map_index === run.map_index));
    found.cleared += cleared.length;
    found.gone += gone.length;
    found.left.push(...gone);
  } catch (problem) {
    if (!(problem instanceof Refusal)) throw problem;
    if (problem.status === 409 && group.length > 1) {
      // One of them is running: the others are cleared without it.
      for (const run of group) await clearRun([run], found);
      return;
    }
    found.left.push(...group);
    if (problem.status === 409) found.running += 1;
    else if (problem.status === 404) found.gone += group.length;
    else found.refused.set(problem.message, (found.refused.get(problem.message) ?? 0) + group.length);
  }
}

function summary({ cleared, running, gone, refused }) {
  return [
    cleared && t("Cleared: {tasks}.", { tasks: tasks(cleared) }),
    running && t("Already running, and sending them: {tasks}.", { tasks: tasks(running) }),
    gone && t("Gone: {tasks}. The next task that sends to this integration takes the leads along.", { tasks: tasks(gone) }),
    ...[...refused].map(([why, number]) =>
      t("Airflow did not clear {tasks}: {why} The next task that sends to this integration takes the leads along.", { tasks: tasks(number), why })),
  ].filter(Boolean);
}
