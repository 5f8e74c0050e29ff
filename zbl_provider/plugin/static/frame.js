// What it takes to live in the frame that Airflow's UI gives an external view.
//
// The browser shows the address of the UI around the frame, so the filters are kept there as well:
// that is the address people copy. And the frame's sandbox lets no link open a tab, leave the frame
// or, in Airflow 3.2, download a file: such links are followed by the UI's own document.

const outer = sameOriginParent();

document.documentElement.dataset.framed = String(outer !== null);

function sameOriginParent() {
  if (window.parent === window) return null;
  try {
    return window.parent.location.href ? window.parent : null;
  } catch {
    return null; // another origin shows this page: it has no business with it
  }
}

/** The query of the address, of the frame or else of the UI around it. */
export function addressQuery() {
  return window.location.search || (outer ? outer.location.search : "");
}

/** Keep a query in the address. */
export function keepInAddress(query) {
  const search = query ? `?${query}` : "";
  for (const view of outer ? [window, outer] : [window]) {
    const { pathname, hash } = view.location;
    view.history.replaceState(view.history.state, "", pathname + search + hash);
  }
}

/** Have the links marked `data-leave` followed outside of the frame. */
export function releaseLinks() {
  if (!outer) return;
  for (const kind of /** @type {const} */ (["click", "auxclick"])) {
    document.addEventListener(kind, (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      const link = /** @type {HTMLAnchorElement | null} */ (target.closest("a[data-leave]"));
      if (!link || event.button > 1) return;
      event.preventDefault();
      const apart = event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey;
      follow(link, apart || link.target === "_blank", outer.document);
    });
  }
}

function follow(link, apart, document) {
  const twin = document.createElement("a");
  twin.href = link.href;
  if (link.hasAttribute("download")) twin.download = "";
  else if (apart) {
    twin.target = "_blank";
    twin.rel = "noopener";
  }
  document.body.append(twin);
  twin.click();
  twin.remove();
}
