// Sending again: asked first, marked in the log, and then the tasks are cleared.
//
// The leads are marked first. Should this page be closed in between, they are due all the same, and
// the next run that sends to their integration takes them along.

import { change, clear, Refusal } from "./api.js";
import { announce, h, showDialog } from "./dom.js";
import { count, leads, tasks } from "./words.js";

const AT_ONCE = 4;
const held = new Set();

/** Note which integrations are held: what is resent to them waits. */
export function noteHeld(names) {
  held.clear();
  for (const name of names) held.add(name);
}

/**
 * Ask, and resend.
 *
 * @param rows the leads; or else
 * @param filter those in error that it finds, and
 * @param number how many these are
 * @returns whether something was sent again
 */
export function askToResend({ rows, filter, number = rows?.length }) {
  return new Promise((done) => {
    let changed = false;
    const go = h("button", { type: "button", class: "button primary" }, `Resend ${leads(number)}`);
    const cancel = h("button", { type: "button", class: "button" }, "Cancel");
    const words = h("div", { "aria-live": "polite" }, ...explain(rows, number));
    const dialog = h("dialog", { class: "question", "aria-labelledby": "question" },
      h("h2", { id: "question" }, `Resend ${leads(number)}?`), words, h("div", { class: "actions" }, cancel, go));
    cancel.addEventListener("click", () => dialog.close());
    go.addEventListener("click", async () => {
      go.disabled = true;
      go.textContent = "Resending…";
      const said = await resend(rows ? { ids: rows.map((row) => row.id) } : { filter }, (text) => words.replaceChildren(h("p", null, text)));
      changed = said.changed;
      words.replaceChildren(...said.lines.map((text) => h("p", null, text)));
      go.remove();
      cancel.textContent = "Close";
      cancel.focus();
      announce(said.lines.join(" "));
    });
    dialog.addEventListener("close", () => done(changed));
    showDialog(dialog);
    go.focus();
  });
}

function explain(rows, number) {
  const delivered = rows?.filter((row) => row.status === "delivered").length ?? 0;
  const waiting = [...new Set(rows?.map((row) => row.integration))].filter((name) => held.has(name));
  const one = number === 1;
  return [
    `${one ? "It gets" : "They get"} a new set of attempts, with the data in the log, under the same webhook-id.`,
    one ? "Its task is cleared, which sends it at once." : "Their tasks are cleared, which sends them at once.",
    delivered && `${one ? "It was" : `${count(delivered)} of them ${delivered === 1 ? "was" : "were"}`} delivered before: the receiver gets ${delivered === 1 ? "it" : "them"} again.`,
    waiting.length && `${waiting.join(", ")} ${waiting.length === 1 ? "is" : "are"} held: nothing goes out before it is resumed.`,
  ].filter(Boolean).map((text) => h("p", null, text));
}

async function resend(what, progress) {
  try {
    const marked = await mark(what, progress);
    const cleared = await clearTasks(marked.runs, progress);
    return { changed: marked.count > 0, lines: [...told(marked), ...cleared] };
  } catch (problem) {
    if (!(problem instanceof Refusal)) throw problem;
    return { changed: false, lines: [problem.message] };
  }
}

/** Mark the leads, some thousands at a time. */
async function mark(what, progress) {
  const all = { count: 0, unsendable: 0, runs: [] };
  let left;
  do {
    const marked = await change("resend", what);
    all.count += marked.count;
    all.unsendable = marked.unsendable;
    all.runs.push(...marked.runs);
    left = marked.count ? marked.left : 0;
    progress(`${leads(all.count)} marked…`);
  } while (left);
  return all;
}

function told({ count: number, unsendable }) {
  return [
    number ? `${leads(number)} will be sent again.` : "No lead is sent again.",
    unsendable && `${leads(unsendable)} cannot be: ${unsendable === 1 ? "its" : "their"} data has been cleared from the log.`,
  ].filter(Boolean);
}

/** Clear task instances, some runs at a time, and say what came of it. */
async function clearTasks(runs, progress) {
  const left = byRun(runs);
  const all = left.length;
  const found = { cleared: 0, running: 0, gone: 0, refused: new Map(), left: [] };
  const worker = async () => {
    for (let group = left.pop(); group; group = left.pop()) {
      progress(`Clearing tasks: run ${all - left.length} of ${all}…`);
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
  const goes = (number) => (number === 1 ? "its leads go" : "their leads go");
  return [
    cleared && `${tasks(cleared)} cleared.`,
    running && `${tasks(running)} ${running === 1 ? "is" : "are"} running: ${goes(running)} out with ${running === 1 ? "it" : "them"}.`,
    gone && `${tasks(gone)} ${gone === 1 ? "is" : "are"} gone: the next run that sends to this integration takes ${gone === 1 ? "its" : "their"} leads along.`,
    ...[...refused].map(([why, number]) => `Airflow did not clear ${tasks(number)}: ${why} The next run that sends to this integration takes the leads along.`),
  ].filter(Boolean);
}
