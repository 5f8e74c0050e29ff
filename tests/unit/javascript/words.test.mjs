// How the page says statuses, numbers and times (Contract 8.4).

import assert from "node:assert/strict";
import test from "node:test";

globalThis.window = { navigator: { languages: ["en-US"] } };
const words = await import(process.env.ZBL_STATIC + "/words.js");

test("every status has a word, and open ones are some of them", () => {
  assert.deepEqual(Object.keys(words.STATUSES).sort(), [
    "delivered", "error", "filtered", "invalid", "pending", "retrying", "sending",
  ]);
  for (const status of words.OPEN) assert.ok(status in words.STATUSES);
});

test("a count fits beside a chart", () => {
  assert.deepEqual([0, 9999, 150_000, 123_000_000].map(words.shortCount), ["0", "9,999", "150K", "123M"]);
});

test("counts have their nouns", () => {
  assert.equal(words.count(1234567), "1,234,567");
  assert.equal(words.leads(1), "1 lead");
  assert.equal(words.leads(0), "0 leads");
  assert.equal(words.tasks(12000), "12,000 tasks");
});

test("a time is said in the reader's zone, and no time is nothing", () => {
  assert.match(words.time("2026-02-23T14:30:02Z"), /^2026-02-2\d \d\d:\d\d:\d\d$/);
  assert.equal(words.time(null), "");
  assert.equal(words.shortTime("2026-02-23T14:30:02Z", true).length, "02-23".length);
  assert.match(words.shortTime("2026-02-23T14:30:02Z", false), /^\d\d:\d\d$/);
});

test("a time without a zone is one of the reader's", () => {
  assert.equal(words.momentOf("2026-02-01T10:00").getTime(), new Date("2026-02-01T10:00").getTime());
  assert.equal(words.momentOf("soon"), null);
  for (const year of ["0002", "0202", "2026", "9999"])
    assert.ok(words.momentOf(`${year}-06-01T10:00`).toISOString().startsWith(`${year}-0`));
});

test("a wait is said in the largest whole unit", () => {
  const now = Date.parse("2026-02-23T14:30:00Z");
  assert.equal(words.fromNow("2026-02-23T14:34:00Z", now), "in 4 minutes");
  assert.equal(words.fromNow("2026-02-23T14:29:50Z", now), "10 seconds ago");
  assert.equal(words.fromNow("2026-02-23T17:30:00Z", now), "in 3 hours");
  assert.equal(words.fromNow("2026-02-21T14:30:00Z", now), "2 days ago");
  assert.equal(words.fromNow("2026-02-23T14:30:00Z", now), "now");
});

test("durations are short, and an unknown one is a dash", () => {
  assert.equal(words.milliseconds(0), "0 ms");
  assert.equal(words.milliseconds(999), "999 ms");
  assert.equal(words.milliseconds(1500), "1.5 s");
  assert.equal(words.milliseconds(1234), "1.23 s");
  assert.equal(words.milliseconds(10040), "10 s");
  assert.equal(words.milliseconds(null), "–");
  assert.equal(words.milliseconds(undefined), "–");
});

test("an answer is its status, or why there was none", () => {
  assert.equal(words.answer(503, null), "503");
  assert.equal(words.answer(null, "timeout"), "no answer in time");
  assert.equal(words.answer(null, "something new"), "something new");
  assert.equal(words.answer(null, null), "–");
});

test("a share of nothing is nothing, and a small one is not called zero", () => {
  assert.equal(words.share(1, 3), "33 %");
  assert.equal(words.share(1, 1000), "< 1 %");
  assert.equal(words.share(0, 10), "");
  assert.equal(words.share(0, 0), "");
});
