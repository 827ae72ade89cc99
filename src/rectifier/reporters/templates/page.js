"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  // Only a page with figures of Plotly's has them; all else takes its colours from the style.
  const themes = JSON.parse(document.getElementById("themes")?.textContent ?? "{}");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  // A file opened from disk may be refused storage: the choice is then kept for this view only.
  const storage = {
    get: () => { try { return localStorage.getItem("rectifier-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("rectifier-theme", value); } catch { /* kept for this view */ } },
  };
  let chosen = storage.get();
  const current = () => (chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light");
  const plots = () => Array.from(document.querySelectorAll(".plot.js-plotly-plot"));

  function show() {
    const theme = current();
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${theme === "dark" ? "light" : "dark"} look`);
    button.setAttribute("aria-pressed", String(theme === "dark"));
    return Promise.all(plots().map((plot) => Plotly.relayout(plot, { template: themes[theme] })));
  }

  // Where there is no mouse a drag must scroll the page, so zooming inside figures is for fine pointers alone.
  const fine = window.matchMedia("(hover: hover) and (pointer: fine)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: fine ? "hover" : false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    scrollZoom: false,
    plotlyServerURL: "",
  };
  if (config.displayModeBar === "hover") delete config.displayModeBar;

  async function draw() {
    for (const source of document.querySelectorAll("script.figure")) {
      const place = source.parentElement.querySelector(".plot");
      const { data, layout, frames } = JSON.parse(source.textContent);
      place.replaceChildren();
      const dragmode = fine ? layout.dragmode ?? "zoom" : false;
      await Plotly.newPlot(place, {
        data, frames, config, layout: { ...layout, dragmode, autosize: true, template: themes[current()] },
      });
    }
    root.dataset.figures = String(plots().length);
  }

  // The words are for a table that is wider than the window, as long as it is.
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) target.previousElementSibling.hidden = target.scrollWidth <= target.clientWidth;
  });
  for (const place of document.querySelectorAll(".table .scroll")) sized.observe(place);

  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = current() === "dark" ? "light" : "dark";
    storage.set(chosen);
    show();
  });
  system.addEventListener("change", show);
  show().then(draw);
})();
