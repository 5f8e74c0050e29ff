// The script of docs/destinations/google-apps-script.md, in front of a sheet that does what Google documents.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const GUIDE = new URL("../../../docs/destinations/google-apps-script.md", import.meta.url);
const SCRIPT = readFileSync(GUIDE, "utf8").match(/```js\n([^]*?)```/)[1];

/** What a sheet makes of a value that is put into a cell, as if it had been typed. */
function typed(value) {
  if (typeof value !== "string") return value;
  if (value.startsWith("'")) return value.slice(1);
  if (value.startsWith("=")) return { formula: value };
  return value.trim() && !Number.isNaN(Number(value)) ? Number(value) : value;
}

/** TextFinder: shown text, a part of a cell and in any case, unless it is told otherwise. */
function finder(cells, text) {
  const want = { case: false, whole: false };
  const fold = (value) => (want.case ? String(value ?? "") : String(value ?? "").toLowerCase());
  return {
    matchCase(on) { want.case = on; return this; },
    matchEntireCell(on) { want.whole = on; return this; },
    findNext: () =>
      cells().find((cell) => (want.whole ? fold(cell) === fold(text) : fold(cell).includes(fold(text)))) ?? null,
  };
}

function deployed() {
  const rows = [];
  const sheet = {
    appendRow: (row) => rows.push(row.map(typed)),
    createTextFinder: (text) => finder(() => rows.flat(), text),
    getRange(name) {
      assert.equal(name, "A:A");
      return { createTextFinder: (text) => finder(() => rows.map(([first]) => first), text) };
    },
  };
  const google = {
    PropertiesService: { getScriptProperties: () => ({ getProperty: () => "token" }) },
    LockService: { getScriptLock: () => ({ waitLock() {}, releaseLock() {} }) },
    SpreadsheetApp: { getActive: () => ({ getSheetByName: () => sheet }), flush() {} },
    HtmlService: { createHtmlOutput: (text) => text },
  };
  const doPost = new Function(...Object.keys(google), `${SCRIPT}; return doPost;`)(...Object.values(google));
  const post = (lead, token = "token") =>
    doPost({ parameter: { token }, postData: { contents: JSON.stringify({ lead }) } });
  return { rows, post };
}

const LEAD = { email: "a@example.com", name: "Ana", score: 85, qualified_at: "2026-02-23T14:30:02Z" };

test("each lead has one row, whatever its id is", () => {
  const { rows, post } = deployed();
  const ids = ["1", "85", "007", "7", "abc", "ABC", "1e3", "Ana", "'x", "=1"];
  for (const id of [...ids, ...ids]) assert.equal(post({ ...LEAD, id }), "ok");
  assert.deepEqual(rows.map(([first]) => first), ids);
});

test("no value is a formula, and a score is a number", () => {
  const { rows, post } = deployed();
  post({ ...LEAD, id: "2", name: '=IMPORTXML("https://evil.example", "/")', email: null });
  assert.deepEqual(rows, [["2", null, '=IMPORTXML("https://evil.example", "/")', 85, LEAD.qualified_at]]);
});

test("a wrong token is refused", () => {
  assert.throws(() => deployed().post({ ...LEAD, id: "3" }, "guess"), /wrong token/);
});
