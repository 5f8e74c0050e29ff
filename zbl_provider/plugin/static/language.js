// The language of Airflow's UI, as far as this page has it: English, Portuguese or Spanish.
//
// A text is named by its English words. What has no translation is shown in English.

import es from "./es.js";
import pt from "./pt.js";

const TEXTS = { en: {}, es, pt };
const REGIONS = { en: "en-US", es: "es", pt: "pt-BR" };

const language = chosen();

/** For numbers and spans of time. */
export const locale = REGIONS[language];

/** Airflow's UI keeps what was chosen in the storage of this origin; without that, the browser's. */
function chosen() {
  const wanted = [stored(), ...(window.navigator.languages ?? [])];
  return wanted.map((one) => (one ?? "").slice(0, 2).toLowerCase()).find((one) => one in TEXTS) ?? "en";
}

function stored() {
  try {
    return window.localStorage.getItem("i18nextLng");
  } catch {
    return null; // storage may be forbidden
  }
}

/** Say a text in that language; `{name}` in it is replaced. */
export const t = (text, values = {}) =>
  (TEXTS[language][text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** Translate what the page itself is written with. */
export function translatePage() {
  document.documentElement.lang = locale;
  document.title = t(document.title);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = /** @type {Text} */ (walker.currentNode);
    const text = node.data.trim();
    if (text) node.data = node.data.replace(text, () => t(text));
  }
  for (const name of ["placeholder", "title", "aria-label"])
    for (const one of document.querySelectorAll(`body [${name}]`)) one.setAttribute(name, t(one.getAttribute(name)));
}
