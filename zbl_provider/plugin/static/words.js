// How statuses, numbers and times are said.

import { locale, t } from "./language.js";

export const STATUSES = {
  pending: t("Pending"),
  sending: t("Sending"),
  retrying: t("Retrying"),
  delivered: t("Delivered"),
  error: t("Error"),
  filtered: t("Filtered"),
  invalid: t("Invalid"),
};
export const OPEN = ["pending", "sending", "retrying"];

const KINDS = {
  timeout: t("no answer in time"),
  dns: t("name not found"),
  refused: t("connection refused"),
  unreachable: t("not reachable"),
  reset: t("connection reset"),
  tls: t("TLS failed"),
  protocol: t("no valid HTTP"),
  blocked: t("address not allowed"),
};

const whole = new Intl.NumberFormat(locale);
const short = new Intl.NumberFormat(locale, { notation: "compact" });
const zone = chosenZone();

/** The time zone of all times on this page. */
export const zoneName = zone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;

const clock = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

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

/** Where there is little room: such as "150K" for 150,000. */
export const shortCount = (number) => (number < 10_000 ? whole : short).format(number);

/** Such as "1 lead", "12 leads". */
export const leads = (number) => (number === 1 ? t("1 lead") : t("{count} leads", { count: count(number) }));

export const tasks = (number) => (number === 1 ? t("1 task") : t("{count} tasks", { count: count(number) }));

/** A time as Airflow's UI shows it. */
export const time = (moment) => (moment ? clock.format(new Date(moment)) : "");

/** The moment that a person means by a date and time without a zone. */
export function momentOf(text) {
  const asUtc = Date.parse(`${text}Z`);
  if (Number.isNaN(asUtc)) return null;
  const wall = (at) => Date.parse(`${time(at).replace(" ", "T")}Z`);
  // Once more, since the clocks may be changed in between.
  const near = asUtc - (wall(asUtc) - asUtc);
  const moment = near - (wall(near) - asUtc);
  // The wall clock of a year that is still being typed, such as 202, is not one that can be read.
  return new Date(Number.isNaN(moment) ? asUtc : moment);
}

/** A time without its day, or a day alone. */
export const shortTime = (moment, wide) => {
  const [day, hour] = time(moment).split(" ");
  return wide ? day.slice(5) : hour.slice(0, 5);
};

/** Such as "in 4 minutes". */
export function fromNow(moment, now = Date.now()) {
  const seconds = Math.round((new Date(moment).getTime() - now) / 1000);
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
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
