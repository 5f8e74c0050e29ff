// Talks to this page's own routes, and to Airflow's REST API, with the session of the user.

import { t } from "./language.js";

const OWN = new URL("../api/", import.meta.url);
const AIRFLOW = new URL("../../", import.meta.url);

/** Someone said no, or did not answer. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The log does not answer, or Airflow does not: that passes.
const AWAY = [0, 502, 503, 504];

/** Whether to ask again by itself. */
export const passes = (problem) => AWAY.includes(problem.status);

const own = (path, parameters) => {
  const url = new URL(path, OWN);
  for (const [name, value] of Object.entries(parameters ?? {}))
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  return url;
};

export const read = (path, parameters) => call(own(path, parameters), { method: "GET" });

export const change = (path, body) => call(own(path), send(body));

export const fileAddress = (path, parameters) => own(path, parameters).href;

/** The pages of a task instance in Airflow's UI. */
export function taskAddress({ dag_id, run_id, task_id, map_index }, page = "") {
  const mapped = map_index >= 0 ? `/mapped/${map_index}` : "";
  const [dag, run, task] = [dag_id, run_id, task_id].map(encodeURIComponent);
  return new URL(`dags/${dag}/runs/${run}/tasks/${task}${mapped}${page}`, AIRFLOW).href;
}

/** Clear task instances of one Dag run, as Airflow's own Clear button does. */
export function clear(dagId, runId, taskIds) {
  const url = new URL(`api/v2/dags/${encodeURIComponent(dagId)}/clearTaskInstances`, AIRFLOW);
  return call(url, send({
    dry_run: false,
    dag_run_id: runId,
    task_ids: taskIds,
    // Its other leads may have been delivered: then the task is green, and this lead is due still.
    only_failed: false,
    // One that runs takes its leads along by itself.
    prevent_running_task: true,
  }));
}

function send(body) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) };
}

async function call(url, options) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", redirect: "error", ...options });
  } catch {
    throw new Refusal(0, t("Airflow does not answer. Check your network."));
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  throw new Refusal(answer.status, said(answer.status, body));
}

function said(status, body) {
  if (status === 401) return t("Your session has ended. Sign in to Airflow again.");
  const detail = body?.detail;
  if (typeof detail === "string") return detail;
  return [t("Airflow answered {status}.", { status }), detail?.[0]?.msg].filter(Boolean).join(" ");
}
