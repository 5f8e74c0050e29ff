// The list of leads, and which of them are selected.

import { taskAddress } from "./api.js";
import { look, state } from "./address.js";
import { byId, focusedElement, focusOn, h } from "./dom.js";
import { t } from "./language.js";
import { answer, count, fromNow, OPEN, STATUSES, time } from "./words.js";

const HEADS = [t("Lead"), t("Status"), t("Integration"), t("Answer"), t("Why"), t("Found"), t("Task")];

/** Numbers of the selected leads, with what is known of them. */
export const selected = new Map();

let drawn = new Map();
let heard = { open() {}, select() {} };

/** Tell what to call when a lead is opened and when the selection changes. */
export function startList(listeners) {
  heard = listeners;
}

export const isSendable = (row) => row.may_resend && ["error", "delivered"].includes(row.status);

/** Whether it waits for an attempt, which may be made now. */
export const isWaiting = (row) => ["pending", "retrying"].includes(row.status);

export function badge(status) {
  return h("span", { class: `badge ${status}` }, STATUSES[status]);
}

/** Show some leads; rows that are the same as before are left as they are, with their focus. */
export function showList(rows, emptiness) {
  if (!rows.length) {
    drawn = new Map();
    byId("list").replaceChildren(emptiness);
    return;
  }
  const focused = focusedElement()?.dataset?.focus;
  const known = drawn;
  drawn = new Map(rows.map((row) => [row.id, keep(known.get(row.id), row)]));
  const body = byId("list").querySelector("tbody") ?? makeTable();
  body.replaceChildren(...[...drawn.values()].map(({ element }) => element));
  if (focused) focusOn(byId("list"), `[data-focus="${CSS.escape(focused)}"]`);
  showSelection();
}

/** Forget what is selected. */
export function unselect() {
  selected.clear();
  showSelection();
}

function keep(before, row) {
  if (selected.has(row.id)) selected.set(row.id, row);
  // What waits says how long it has to: it changes by itself.
  const words = JSON.stringify(row) + why(row);
  return before?.words === words ? before : { words, row, element: line(row) };
}

function makeTable() {
  const box = h("input", { type: "checkbox", id: "select-all", "aria-label": t("Select all on this page"), "data-focus": "all", onchange: selectAll });
  const heads = HEADS.map((name) => h("th", { scope: "col" }, name));
  const body = h("tbody");
  byId("list").replaceChildren(
    h("table", { class: "leads", "aria-labelledby": "list-title" },
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "check" }, box), heads)), body),
  );
  return body;
}

function line(row) {
  const open = () => {
    look({ open: String(row.id) });
    heard.open();
  };
  return h("tr", { "data-id": row.id },
    h("td", { class: "check" }, checkbox(row)),
    cell("Lead", "lead", h("button", { type: "button", class: "link", "data-focus": `open-${row.id}`, onclick: open }, row.lead_id)),
    cell("Status", "status", badge(row.status)),
    cell("Integration", "integration", row.integration),
    cell("Answer", "answer", answer(row.last_status, row.last_kind)),
    cell("Why", "why", why(row)),
    cell("Found", "when", h("time", { datetime: row.created_at }, time(row.created_at))),
    cell("Task", "task", taskLink(row)),
  );
}

const cell = (label, kind, content) => h("td", { class: kind, "data-label": t(label) }, content || "");

function taskLink({ run }) {
  const mapped = run.map_index >= 0 ? ` [${run.map_index}]` : "";
  return h("a", { href: taskAddress(run), "data-leave": true, title: `${run.dag_id} / ${run.task_id}${mapped}, ${run.run_id}` },
    `${run.dag_id} / ${run.task_id}${mapped}`);
}

function why(row) {
  if (row.status === "delivered") return row.resend ? t("Resent {count} ×", { count: count(row.resend) }) : "";
  if (row.status === "retrying" && row.due_at) return t("Attempt {number} {when}", { number: row.attempts + 1, when: fromNow(row.due_at) });
  return row.reason ?? "";
}

function checkbox(row) {
  const allowed = isSendable(row);
  return h("input", {
    type: "checkbox",
    "aria-label": t("Select {lead}", { lead: row.lead_id }),
    "data-focus": `select-${row.id}`,
    disabled: !allowed,
    title: allowed ? null : unselectable(row),
    onchange: (event) => {
      if (event.target.checked) selected.set(row.id, row);
      else selected.delete(row.id);
      showSelection();
    },
  });
}

const unselectable = (row) =>
  row.may_resend
    ? t("{status}: it can be neither resent nor sent now", { status: STATUSES[row.status] })
    : t("You may not clear this lead's task");

function selectAll(event) {
  for (const { row } of drawn.values()) {
    if (!isSendable(row)) continue;
    if (event.target.checked) selected.set(row.id, row);
    else selected.delete(row.id);
  }
  showSelection();
}

function showSelection() {
  const rows = [...drawn.values()];
  for (const { row, element } of rows) {
    const box = element.querySelector("input");
    box.checked = selected.has(row.id);
    element.classList.toggle("selected", box.checked);
  }
  const sendable = rows.filter(({ row }) => isSendable(row));
  const chosen = sendable.filter(({ row }) => selected.has(row.id)).length;
  const all = /** @type {HTMLInputElement | null} */ (document.getElementById("select-all"));
  if (all) {
    all.disabled = !sendable.length;
    all.checked = chosen > 0 && chosen === sendable.length;
    all.indeterminate = chosen > 0 && chosen < sendable.length;
  }
  heard.select();
}

/** Whether some of what is shown changes by itself. */
export const isMoving = (rows) => rows.some((row) => OPEN.includes(row.status));

const button = (id) => /** @type {HTMLButtonElement} */ (byId(id));

/** How the pages are walked through. */
export function showPages(next, changed) {
  byId("pages").hidden = !next && !state.before;
  button("newest").disabled = !state.before;
  button("older").disabled = !next;
  const walk = (before) => {
    look({ before });
    unselect();
    changed();
    byId("list-title").scrollIntoView({ block: "start" });
  };
  byId("newest").onclick = () => walk("");
  byId("older").onclick = () => walk(String(next));
}
