// How statuses, numbers and times are said.

export const STATUSES = {
  pending: "Pending",
  sending: "Sending",
  retrying: "Retrying",
  delivered: "Delivered",
  error: "Error",
  filtered: "Filtered",
  invalid: "Invalid",
};
export const OPEN = ["pending", "sending", "retrying"];

const KINDS = {
  timeout: "no answer in time",
  dns: "name not found",
  refused: "connection refused",
  unreachable: "not reachable",
  reset: "connection reset",
  tls: "TLS failed",
  protocol: "no valid HTTP",
  blocked: "address not allowed",
};

const whole = new Intl.NumberFormat("en-US");
const zone = chosenZone();
const clock = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** The time zone that was chosen in Airflow, or the browser's. */
function chosenZone() {
  try {
    const stored = window.localStorage.getItem("timezone")?.replaceAll('"', "");
    return stored ? new Intl.DateTimeFormat("en", { timeZone: stored }).resolvedOptions().timeZone : undefined;
  } catch {
    return undefined;
  }
}

export const count = (number) => whole.format(number);

/** Such as "1 lead", "12 leads". */
export const leads = (number) => `${count(number)} ${number === 1 ? "lead" : "leads"}`;

export const tasks = (number) => `${count(number)} ${number === 1 ? "task" : "tasks"}`;

/** A time as Airflow's UI shows it. */
export const time = (moment) => (moment ? clock.format(new Date(moment)) : "");

/** A time without its day, or a day alone. */
export const shortTime = (moment, wide) => {
  const [day, hour] = time(moment).split(" ");
  return wide ? day.slice(5) : hour.slice(0, 5);
};

/** Such as "in 4 minutes". */
export function fromNow(moment, now = Date.now()) {
  const seconds = Math.round((new Date(moment) - now) / 1000);
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return relative.format(Math.round(seconds / size), unit);
}

export function milliseconds(number) {
  if (number === null || number === undefined) return "–";
  return number < 1000 ? `${count(number)} ms` : `${Number((number / 1000).toFixed(number < 10000 ? 2 : 1))} s`;
}

/** What the receiver answered last. */
export function answer(status, kind) {
  if (status) return String(status);
  return kind ? (KINDS[kind] ?? kind) : "–";
}

/** Such as "12 %"; nothing of nothing is nothing. */
export function share(part, all) {
  if (!all || !part) return "";
  const percent = (100 * part) / all;
  return percent < 1 ? "< 1 %" : `${Math.round(percent)} %`;
}
