// The funnel: what became of the leads that were found. Each number is a filter.

import { look, state } from "./address.js";
import { byId, focusedElement, focusOn, h } from "./dom.js";
import { t } from "./language.js";
import { count, share, STATUSES } from "./words.js";

const STEPS = ["filtered", "invalid", "pending", "sending", "delivered", "retrying", "error"];
const RARELY = ["sending"];

/** Show how many leads stand where. */
export function showFunnel(counts, changed) {
  const focused = focusedElement()?.dataset?.step;
  const all = Object.values(counts).reduce((sum, one) => sum + one, 0);
  const steps = STEPS.filter((status) => !RARELY.includes(status) || counts[status] || state.status === status);
  byId("funnel").replaceChildren(
    tile("", t("Found"), all, "", changed),
    ...steps.map((status) => tile(status, STATUSES[status], counts[status], share(counts[status], all), changed)),
  );
  if (focused !== undefined) focusOn(byId("funnel"), `[data-step="${focused}"]`);
  return all;
}

function tile(status, name, number, part, changed) {
  const choose = () => {
    look({ status: state.status === status ? "" : status });
    changed();
  };
  return h(
    "button",
    {
      type: "button",
      class: `tile ${status || "found"}`,
      "data-step": status,
      "aria-pressed": String(state.status === status),
      title: status ? t("Show: {status}", { status: name }) : t("Show all"),
      onclick: choose,
    },
    h("span", { class: "name" }, name),
    h("span", { class: "number" }, count(number)),
    h("span", { class: "share" }, part || "\u00a0"),
  );
}
