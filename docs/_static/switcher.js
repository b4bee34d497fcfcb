// The versions of this documentation that lie beside this one, in the sidebar. The list is a script and not a file to fetch, so
// that it also works where the site was opened from disk. `python docs/versions.py` writes it into every version.
"use strict";

(() => {
  const told = window.fxscopeVersions, own = document.currentScript.dataset.version;
  const page = document.currentScript.dataset.page, root = document.documentElement.dataset.content_root;
  const names = told ? Object.keys(told.pages) : [];

  /** The same page in another version, or its first page where that has none of the name. */
  function address(version) {
    const there = told.pages[version].includes(page) ? page : "index";
    return `${root}../${version}/${there}.html`;
  }
  function link(version, words) {
    const made = document.createElement("a");
    made.href = address(version);
    made.textContent = words;
    return made;
  }
  document.addEventListener("DOMContentLoaded", () => {
    const brand = document.querySelector(".sidebar-brand");
    if (names.length > 1 && brand) {
      const made = document.createElement("nav");
      made.className = "fxscope-versions";
      made.setAttribute("aria-label", "Versions of this documentation");
      for (const version of names) {
        const each = link(version, version);
        if (version === own) each.setAttribute("aria-current", "true");
        made.append(each);
      }
      brand.after(made);
    }
    if (names.length > 1 && own !== told.newest) {
      const note = document.createElement("p");
      note.className = "fxscope-older";
      note.append(`This is the documentation of version ${own}. `, link(told.newest, `Read that of ${told.newest}`), ".");
      document.querySelector("article[role=main]")?.prepend(note);
    }
  });
})();
