"use strict";
(() => {
  // Which findings are shown. A link to one that is filtered out takes the filters back.
  const form = document.querySelector(".filters");
  const found = Array.from(document.querySelectorAll("[data-severity]"));
  if (!form) return;
  const boxes = Array.from(form.querySelectorAll("input"));
  const site = form.querySelector("select");

  function filter() {
    const severities = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    for (const one of found) {
      one.hidden = !severities.has(one.dataset.severity) ||
        (site.selectedIndex > 0 && one.dataset.place !== String(site.selectedIndex));
    }
    const shown = found.filter((one) => !one.hidden).length;
    form.querySelector("output").textContent =
      shown === found.length ? `${shown} findings` : `${shown} of ${found.length} findings shown`;
    document.dispatchEvent(new CustomEvent("site", { detail: site.value ? site.value.slice(1) : null }));
  }

  function reveal() {
    const number = /^#(?:finding|units)-(\d+)$/.exec(location.hash)?.[1];
    const card = number && document.getElementById(`finding-${number}`);
    if (!card?.hidden) return;
    form.reset();
    filter();
    if (location.hash.startsWith("#finding")) card.scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", reveal);
  filter();
  reveal();
})();
