// What is looked at is kept in the address, so that it can be shared (Contract 8.4).

import assert from "node:assert/strict";
import test from "node:test";

/** Load the module anew, as a page with this query does; it has no frame around it. */
let pages = 0;
async function page(query) {
  const shown = [];
  const window = {
    navigator: { languages: ["en-US"] },
    location: { search: query, pathname: "/deliveries", hash: "" },
    history: { state: null, replaceState: (_state, _title, url) => shown.push(url) },
  };
  window.parent = window;
  globalThis.window = window;
  globalThis.document = { documentElement: { dataset: {} } };
  // The frame reads the window once: each page needs modules of its own.
  const { register } = await import("node:module");
  if (!pages) register(`data:text/javascript,${encodeURIComponent(FRESH)}`);
  pages += 1;
  const address = await import(`${process.env.ZBL_STATIC}/address.js?page=${pages}`);
  return { ...address, shown };
}

const FRESH = `
  export async function resolve(specifier, context, next) {
    const found = await next(specifier, context);
    const query = context.parentURL?.match(/[?]page=\\d+$/)?.[0];
    return query && !found.url.includes("?") ? { ...found, url: found.url + query } : found;
  }
`;

test("without a query the last seven days are shown", async () => {
  const { state, filter, isFiltered } = await page("");
  assert.equal(state.view, "deliveries");
  assert.equal(state.period, "7d");
  assert.equal(isFiltered(), false);
  const { since, until } = filter();
  assert.equal(until, undefined);
  const days = (Date.now() - Date.parse(since)) / 86_400_000;
  assert.ok(days >= 7 && days < 7.01);
});

test("an address that somebody shared is read back", async () => {
  const { state, filter, isFiltered } = await page(
    "?status=error&integration=zapier&period=all&lead=42&dag=d&task=t&run=r&map=0&open=7&before=90",
  );
  assert.equal(isFiltered(), true);
  assert.deepEqual([state.open, state.before], ["7", "90"]);
  assert.deepEqual(filter(), {
    status: "error", integration: "zapier", lead_id: "42", dag_id: "d", task_id: "t", run_id: "r",
    map_index: "0",
  });
  assert.equal("status" in filter({ withStatus: false }), false);
});

test("what the page does not know is not taken from an address", async () => {
  const { state } = await page("?status=lost&period=1y&view=admin&before=-1&open=x&other=1");
  assert.deepEqual(
    [state.status, state.period, state.view, state.before, state.open],
    ["", "7d", "deliveries", "", ""],
  );
  assert.equal("other" in state, false);
});

test("a filter begins with the newest leads again, and another look does not", async () => {
  const { state, look, shown } = await page("?before=90");
  look({ open: "7" });
  assert.equal(state.before, "90");
  look({ status: "error" });
  assert.equal(state.before, "");
  assert.equal(shown.at(-1), "/deliveries?status=error&open=7");
});

test("what is as it is by default is not in the address", async () => {
  const { look, unfilter, isFiltered, shown } = await page("?status=error");
  look({ period: "24h" });
  assert.equal(shown.at(-1), "/deliveries?status=error&period=24h");
  unfilter();
  assert.equal(shown.at(-1), "/deliveries");
  assert.equal(isFiltered(), false);
});

test("a period of one's own may have an open end, or a time that is none", async () => {
  const { filter } = await page("?period=custom&from=2026-02-01T10:00&to=soon");
  const { since, until } = filter();
  assert.equal(since, new Date("2026-02-01T10:00").toISOString());
  assert.equal(until, undefined);
});
