// Elements without markup: whatever comes from outside becomes text, never HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id that `index.html` has. */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** The element that has the focus, if one has it. */
export const focusedElement = () => /** @type {HTMLElement | null} */ (document.activeElement);

/** Put the focus on the element that a selector finds within another, if it is there. */
export const focusOn = (root, selector) =>
  /** @type {HTMLElement | null} */ (root.querySelector(selector))?.focus();

/** Make an HTML element; attributes that are null or false are left out, `on…` are listeners. */
export const h = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

/** Make an SVG element. */
export const s = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Show a modal dialog until it is closed; the focus goes back to where it was. */
export function showDialog(dialog) {
  const before = focusedElement();
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Tell those who cannot see what has changed. */
export function announce(text) {
  byId("status").textContent = text;
}
