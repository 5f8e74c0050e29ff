// What is looked at, kept in the address so that it can be shared.

import { addressQuery, keepInAddress } from "./frame.js";
import { t } from "./language.js";
import { momentOf, STATUSES } from "./words.js";

export const PERIODS = {
  "1h": [t("Last hour"), 3600],
  "24h": [t("Last 24 hours"), 86400],
  "7d": [t("Last 7 days"), 7 * 86400],
  "30d": [t("Last 30 days"), 30 * 86400],
  all: [t("All time"), null],
  custom: [t("From … to …"), null],
};

const UNFILTERED = {
  status: "", integration: "", period: "7d", from: "", to: "", lead: "", email_hash: "", dag: "", task: "", run: "", map: "",
};
const DEFAULTS = { view: "deliveries", ...UNFILTERED, before: "", open: "" };

export const FILTERS = Object.keys(UNFILTERED);

export const state = { ...DEFAULTS, ...given() };

function given() {
  const found = Object.fromEntries(
    [...new URLSearchParams(addressQuery())].filter(([name]) => name in DEFAULTS),
  );
  if (!(found.status in STATUSES)) delete found.status;
  if (!(found.period in PERIODS)) delete found.period;
  if (found.view !== "integrations") delete found.view;
  if (!/^[0-9a-f]{16}(\.[0-9a-f]{16})*$/.test(found.email_hash ?? "")) delete found.email_hash;
  for (const name of ["before", "open"]) if (!/^\d+$/.test(found[name] ?? "")) delete found[name];
  return found;
}

/** Look at something else; other filters begin with the newest leads again. */
export function look(changes) {
  const filtered = FILTERS.some((name) => name in changes && changes[name] !== state[name]);
  Object.assign(state, filtered ? { before: "" } : {}, changes);
  const told = Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]);
  keepInAddress(new URLSearchParams(told).toString());
}

/** Have the address name what is looked at: that of the UI around the frame may be the only one. */
export const keepLook = () => look({});

export const unfilter = () => look(UNFILTERED);

export const isFiltered = () => FILTERS.some((name) => state[name] !== UNFILTERED[name]);

/** The filters, as the routes of this page take them. */
export function filter({ withStatus = true } = {}) {
  const [since, until] = period();
  return dense({
    status: withStatus ? state.status : "",
    integration: state.integration,
    lead_id: state.lead,
    email_hash: state.email_hash,
    dag_id: state.dag,
    task_id: state.task,
    run_id: state.run,
    map_index: state.map,
    since,
    until,
  });
}

function period() {
  if (state.period === "custom") return [state.from, state.to].map((text) => text && instant(text));
  const seconds = PERIODS[state.period][1];
  // Whole minutes: what was asked a moment ago is asked in the same words.
  const now = Math.floor(Date.now() / 60000) * 60000;
  return [seconds && new Date(now - seconds * 1000).toISOString(), ""];
}

const instant = (text) => momentOf(text)?.toISOString() ?? "";

const dense = (entries) => Object.fromEntries(Object.entries(entries).filter(([, value]) => value));
