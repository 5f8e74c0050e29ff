// Attempts over time: how many delivered and failed, and how long the answers took.

import { h, s } from "./dom.js";
import { t } from "./language.js";
import { count, milliseconds, shortCount, shortTime, time } from "./words.js";

const HEIGHT = 132;
const MARGIN = { top: 8, right: 6, bottom: 20, left: 44 };
const LABEL = 90; // pixels that a label of the time axis takes
const TIP = 150; // and the tooltip
const DAYS = 2 * 86400;

/** Two charts and a table of the same, which are drawn anew when their width changes. */
export class Charts {
  #buckets = /** @type {any[]} */ ([]);
  #at = -1;
  #width = 0;
  #panels = /** @type {any[]} */ ([]);

  constructor(box) {
    this.box = box;
    new ResizeObserver(() => this.#draw()).observe(box);
  }

  /** Show the attempts of some stretches of time. */
  show(buckets) {
    const words = JSON.stringify(buckets);
    if (words === this.words) return; // what is looked at just now stays
    this.words = words;
    this.#buckets = buckets;
    this.#at = -1;
    this.#width = 0;
    const total = (name) => count(buckets.reduce((sum, one) => sum + one[name], 0));
    this.#panels = [
      this.#panel(t("Attempts"), [["delivered", t("Delivered {count}", { count: total("delivered") })], ["failed", t("Failed {count}", { count: total("failed") })]], attempts),
      this.#panel(t("Answer time"), [["p50", t("Half within (p50)")], ["p95", t("95 % within (p95)")]], answers),
    ];
    const unfolded = this.box.querySelector("details")?.open ?? false;
    this.box.replaceChildren(...this.#panels.map(({ figure }) => figure), table(buckets, unfolded));
    this.#draw();
  }

  #panel(title, legend, kind) {
    const keys = legend.map(([name, text]) => h("span", { class: `key ${name}` }, text));
    const leave = () => this.#point(-1);
    const plot = h("div", {
      class: "plot",
      tabindex: "0",
      role: "img",
      onkeydown: (event) => this.#walk(event),
      onpointermove: (event) => this.#point(this.#under(event)),
      onpointerleave: leave,
      onblur: leave,
    });
    const tip = h("div", { class: "tip", hidden: true });
    const figure = h("figure", { class: "panel" },
      h("figcaption", null, h("span", { class: "panel-title" }, title), keys), plot, tip);
    return { figure, plot, tip, kind, title };
  }

  #draw() {
    const width = this.#panels[0]?.plot.clientWidth ?? 0;
    if (!width || width === this.#width) return;
    this.#width = width;
    for (const panel of this.#panels) this.#plot(panel);
  }

  get #step() {
    return (this.#width - MARGIN.left - MARGIN.right) / Math.max(this.#buckets.length, 1);
  }

  #plot({ plot, kind, title }) {
    const width = this.#width;
    const top = ceiling(Math.max(...this.#buckets.map(kind.most), 1));
    const space = {
      step: this.#step,
      x: (index) => MARGIN.left + index * this.#step,
      y: (value) => MARGIN.top + (1 - value / top) * (HEIGHT - MARGIN.top - MARGIN.bottom),
    };
    plot.setAttribute("aria-label", t("{title} over time. Arrow keys go through it.", { title }));
    plot.replaceChildren(
      s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" },
        [0, top / 2, top].map((value) => line(space, width, value, kind.say)),
        hours(space, width, this.#buckets),
        s("rect", { class: "here", y: MARGIN.top, width: Math.max(this.#step, 1), height: HEIGHT - MARGIN.top - MARGIN.bottom, visibility: "hidden" }),
        kind.marks(space, this.#buckets)),
    );
  }

  #under(event) {
    const from = event.currentTarget.getBoundingClientRect().left + MARGIN.left;
    const index = Math.floor((event.clientX - from) / this.#step);
    return index < this.#buckets.length ? Math.max(index, -1) : -1;
  }

  #walk(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.#buckets.length) return;
    event.preventDefault();
    const from = this.#at < 0 && step < 0 ? this.#buckets.length : this.#at;
    this.#point(Math.min(Math.max(from + step, 0), this.#buckets.length - 1), event.currentTarget);
  }

  /** Say what a stretch of time came to, in both charts. */
  #point(index, spoken) {
    this.#at = index;
    for (const { plot, tip, kind } of this.#panels) {
      const here = plot.querySelector(".here");
      here?.setAttribute("visibility", index < 0 ? "hidden" : "visible");
      tip.hidden = index < 0;
      if (index < 0) continue;
      const bucket = this.#buckets[index];
      const said = kind.lines(bucket);
      const x = MARGIN.left + index * this.#step;
      const right = x + this.#step + 8;
      here.setAttribute("x", x);
      tip.replaceChildren(h("strong", null, time(bucket.start).slice(0, 16)), ...said.map((text) => h("span", null, text)));
      tip.style.left = `${right + TIP > this.#width ? Math.max(x - TIP - 8, 0) : right}px`;
      if (spoken === plot) plot.setAttribute("aria-label", [time(bucket.start), ...said].join(", "));
    }
  }
}

const attempts = {
  say: shortCount,
  most: (one) => one.delivered + one.failed,
  lines: (one) => [t("{count} delivered", { count: count(one.delivered) }), t("{count} failed", { count: count(one.failed) })],
  marks: bars,
};

const answers = {
  say: milliseconds,
  most: (one) => Math.max(one.p50_ms ?? 0, one.p95_ms ?? 0),
  lines: (one) => [`p50 ${milliseconds(one.p50_ms)}`, `p95 ${milliseconds(one.p95_ms)}`],
  marks: lines,
};

/** The next round number, of which the half is round, too. */
function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return Math.max(([1, 2, 4, 6, 8].find((factor) => factor * power >= most) ?? 10) * power, 2);
}

function line(space, width, value, say) {
  return s("g", { class: "scale" },
    s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: space.y(value), y2: space.y(value) }),
    s("text", { x: MARGIN.left - 6, y: space.y(value) + 4, "text-anchor": "end" }, say(value)));
}

function hours(space, width, buckets) {
  if (!buckets.length) return [];
  const labels = Math.max(1, Math.floor((width - MARGIN.left) / LABEL));
  const every = Math.ceil(buckets.length / labels);
  const wide = buckets.length * buckets[0].seconds > DAYS;
  return buckets.flatMap((one, index) =>
    index % every || space.x(index) + LABEL / 2 > width
      ? []
      : [s("text", { class: "hour", x: space.x(index), y: HEIGHT - 5 }, shortTime(one.start, wide))]);
}

function bars(space, buckets) {
  const width = Math.max(space.step - Math.min(2, space.step / 4), 0.5);
  const bar = (kind, index, from, to) =>
    s("rect", { class: kind, x: space.x(index), y: space.y(to), width, height: Math.max(space.y(from) - space.y(to), 1) });
  return buckets.flatMap(({ delivered, failed }, index) => [
    ...(delivered ? [bar("delivered", index, 0, delivered)] : []),
    ...(failed ? [bar("failed", index, delivered, delivered + failed)] : []),
  ]);
}

function lines(space, buckets) {
  return ["p95", "p50"].flatMap((kind) => {
    const points = buckets.map((one, index) =>
      one[`${kind}_ms`] === null ? null : [space.x(index) + space.step / 2, space.y(one[`${kind}_ms`])]);
    return stretches(points).map((some) =>
      some.length === 1
        ? s("circle", { class: kind, cx: some[0][0], cy: some[0][1], r: 2.5 })
        : s("polyline", { class: kind, points: some.map((one) => one.join(",")).join(" ") }));
  });
}

/** Points between the gaps: where nothing was answered, no line is drawn. */
function stretches(points) {
  let last = /** @type {number[][]} */ ([]);
  const found = [last];
  for (const one of points) {
    if (one) last.push(one);
    else if (last.length) found.push((last = []));
  }
  return found.filter((some) => some.length);
}

function table(buckets, open) {
  const busy = buckets.filter((one) => one.delivered || one.failed);
  const heads = [t("From"), t("Delivered"), t("Failed"), "p50", "p95"].map((name) => h("th", { scope: "col" }, name));
  const rows = busy.map((one) => h("tr", null,
    [time(one.start), count(one.delivered), count(one.failed), milliseconds(one.p50_ms), milliseconds(one.p95_ms)]
      .map((text) => h("td", null, text))));
  return h("details", { class: "as-table", open },
    h("summary", null, t("Charts as a table")),
    busy.length
      ? h("div", { class: "scroll", tabindex: "0" }, h("table", null, h("thead", null, h("tr", null, heads)), h("tbody", null, rows)))
      : h("p", { class: "quiet" }, t("No attempt was made in this period.")));
}
