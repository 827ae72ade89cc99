"use strict";
(async () => {
  const { sites, findings, scale, arrays } = JSON.parse(document.getElementById("units").textContent);
  const NEVER = 1, PROVED = 2, LEAST = 3, ALWAYS = 254;
  const SILENT = [213, 94, 0], DEAD = [194, 64, 143], SEEN_BY_GRADIENT = [240, 178, 150];
  const holders = Array.from(document.querySelectorAll(".cells"));
  if (!("DecompressionStream" in window)) {
    for (const holder of holders) holder.textContent = "This browser is too old to draw this map.";
    return;
  }

  // --- the arrays: all numbers of units, then examples fired, then a byte a cell
  const packed = Uint8Array.from(atob(arrays), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  let at = 0;
  const take = (Kind, length) => {
    const part = new Kind(buffer, at, length);
    at += length * Kind.BYTES_PER_ELEMENT;
    return part;
  };
  const mapped = sites.filter((site) => site.mapped);
  for (const site of sites) site.units = take(Uint32Array, site.drawn);
  for (const site of mapped) site.mapUnits = take(Uint32Array, site.mapped);
  for (const site of sites) site.fired = take(Float32Array, site.drawn);
  for (const site of sites) site.levels = take(Uint8Array, site.drawn);
  for (const site of mapped) site.mapLevels = take(Uint8Array, site.mapped * site.steps.length);

  const inRuns = (runs, unit) => {
    for (let i = 0; i < runs.length; i += 2) if (unit >= runs[i] && unit <= runs[i + 1]) return true;
    return false;
  };
  const about = (site, unit) => findings
    .map((finding, index) => ({ ...finding, number: index + 1 }))
    .filter((finding) => finding.site === site.name && inRuns(finding.units, unit));
  const since = (site, unit) => {
    for (const finding of site.findings) {
      for (const [step, runs] of finding.since) if (inRuns(runs, unit)) return step;
    }
    return null;
  };
  for (const site of sites) site.findings = findings.filter((finding) => finding.site === site.name);

  // --- colours
  const stops = scale.map((hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16)));
  const colours = Array.from({ length: 256 }, (_, level) => {
    if (level === NEVER) return SILENT;
    if (level === PROVED) return SEEN_BY_GRADIENT;
    const spot = (Math.max(0, Math.min(level, ALWAYS) - LEAST) / (ALWAYS - LEAST)) * (stops.length - 1);
    const low = Math.floor(spot), high = Math.min(low + 1, stops.length - 1);
    return stops[low].map((part, place) => Math.round(part + (stops[high][place] - part) * (spot - low)));
  });

  // --- one view a map: across are looks (or the units of a row), down are units (or the one look)
  let selected = null; // a finding's number
  let byDeath = false;
  const views = holders.map((holder) => {
    const site = sites[Number(holder.dataset.site)];
    const tall = holder.classList.contains("tall");
    const units = tall ? site.mapUnits : site.units;
    const gutter = document.createElement("canvas");
    gutter.className = "gutter";
    holder.append(gutter);
    return {
      holder, site, tall, units, gutter,
      canvas: holder.querySelector("canvas"), over: holder.querySelector("svg"),
      levels: tall ? site.mapLevels : site.levels,
      looks: tall ? site.steps.length : 1,
      order: Array.from(units, (_, index) => index),
      cursor: null,
    };
  });
  for (const view of views) {
    view.silent = Array.from(view.units, (unit) => {
      const named = view.site.findings.filter((finding) => finding.fault && inRuns(finding.units, unit));
      return named.some((finding) => finding.dead) ? 2 : named.length ? 1 : 0;
    });
    view.since = view.tall ? Array.from(view.units, (unit) => since(view.site, unit)) : [];
  }

  const lit = (view, index) => {
    const finding = findings[selected - 1];
    return finding.site === view.site.name && inRuns(finding.units, view.units[index]);
  };

  function paint(canvas, width, height, colour) {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let y = 0, place = 0; y < height; y++) {
      for (let x = 0; x < width; x++, place += 4) image.data.set(colour(x, y), place);
    }
    context.putImageData(image, 0, 0);
  }

  function draw(view) {
    const { tall, looks, order, levels, units } = view;
    const bright = units.length && selected ? Array.from(units, (_, index) => lit(view, index)) : null;
    const cell = (index, look) => {
      const level = levels[index * looks + look];
      return level ? [...colours[level], !bright || bright[index] ? 255 : 56] : [0, 0, 0, 0];
    };
    const mark = (index) => [[0, 0, 0, 0], [...SILENT, 255], [...DEAD, 255]][view.silent[index]];
    if (tall) {
      paint(view.canvas, looks, units.length, (x, y) => cell(order[y], x));
      paint(view.gutter, 1, units.length, (x, y) => mark(order[y]));
      view.over.setAttribute("viewBox", `0 0 ${looks} ${units.length}`);
    } else {
      paint(view.canvas, units.length, 1, (x) => cell(x, 0));
      paint(view.gutter, units.length, 1, (x) => mark(x));
      view.over.setAttribute("viewBox", `0 0 ${units.length} 1`);
    }
    view.holder.dataset.lit = bright ? String(bright.filter(Boolean).length) : "";
    overlay(view, bright);
  }

  function overlay(view, bright) {
    const parts = [];
    const deaths = view.tall ? view.order.map((index, row) => {
      const look = view.since[index] === null ? -1 : view.site.steps.findIndex((step) => step >= view.since[index]);
      return look < 0 ? "" : `M${look} ${row}v1`;
    }).join("") : "";
    if (deaths) parts.push(["death", deaths]);
    if (bright) {
      const outlines = [];
      for (let row = 0; row < view.order.length; row++) {
        if (!bright[view.order[row]]) continue;
        const first = row;
        while (row + 1 < view.order.length && bright[view.order[row + 1]]) row++;
        const size = row - first + 1;
        outlines.push(["lit", view.tall ? `M0 ${first}h${view.looks}v${size}h${-view.looks}z` : `M${first} 0h${size}v1h${-size}z`]);
      }
      // Many thin outlines would hide what they surround; the others are dimmed all the same.
      if (outlines.length <= 48) parts.push(...outlines);
    }
    if (view.cursor) {
      const [x, y] = view.tall ? [view.cursor.look, view.cursor.row] : [view.cursor.row, 0];
      parts.push(["cursor", `M${x} ${y}h1v1h-1z`]);
    }
    view.over.replaceChildren(...parts.map(([kind, d]) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind);
      path.setAttribute("d", d);
      return path;
    }));
  }

  // --- reading a cell
  const grouped = (value) => Math.round(value).toLocaleString("en");
  function told(view, { row, look }) {
    const { site, tall } = view;
    const index = view.order[row], unit = view.units[index];
    const level = view.levels[index * view.looks + look];
    let text = `${site.label}, unit ${unit}${tall ? `, step ${grouped(site.steps[look])}` : ""}: `;
    if (!level) text += "not seen";
    else if (!tall) text += `fired at ${grouped(site.fired[index])} of ${grouped(site.examples)} examples`;
    else if (level === NEVER) text += "never fired in this look";
    else if (level === PROVED) text += "not seen to fire in this look, but its gradient proves that it did";
    else if (level === ALWAYS) text += "fired at every example of this look";
    else if (level === LEAST) text += "fired at less than 0.2 % of the examples";
    else text += `fired at about ${((100 * (level - LEAST)) / 250).toFixed(1)} % of the examples`;
    const from = since(site, unit);
    if (from !== null) text += `; silent since step ${grouped(from)}`;
    if (view.silent[index] === 2) text += "; proved dead";
    return text;
  }

  const reading = document.getElementById("reading");
  const spoken = document.getElementById("spoken");
  function read(view, x, y, aloud) {
    const text = told(view, view.cursor);
    reading.textContent = text;
    reading.hidden = false;
    const room = document.documentElement.clientWidth - reading.offsetWidth - 8;
    reading.style.left = `${Math.max(8, Math.min(x + 14, room))}px`;
    const below = y + 18 + reading.offsetHeight < window.innerHeight;
    reading.style.top = `${below ? y + 18 : y - reading.offsetHeight - 12}px`;
    if (aloud) spoken.textContent = text;
    overlay(view, selected ? Array.from(view.units, (_, index) => lit(view, index)) : null);
  }
  function leave(view) {
    view.cursor = null;
    reading.hidden = true;
    draw(view);
  }

  // --- selecting: by link, by click, by Enter
  const panel = document.getElementById("selection");
  const link = (href, text) => Object.assign(document.createElement("a"), { href, textContent: text });
  function show(text, links) {
    panel.hidden = false;
    panel.firstElementChild.textContent = text;
    panel.querySelector(".links").replaceChildren(...links);
  }
  function select(number) {
    selected = findings[number - 1] ? number : null;
    if (selected) {
      const { title, units } = findings[number - 1];
      let many = 0;
      for (let i = 0; i < units.length; i += 2) many += units[i + 1] - units[i] + 1;
      const there = views.some((view) => view.site.name === findings[number - 1].site) && many;
      if (!there) selected = null;
      show(`Finding ${number}: ${title}${many ? `, ${grouped(many)} ${many === 1 ? "unit" : "units"}` : ""}`, [
        link(`#finding-${number}`, `Back to finding ${number}`),
        ...(there ? [link(`#units-${number}`, many === 1 ? "Show its unit" : "Show its units")] : []),
      ]);
    } else {
      panel.hidden = true;
    }
    views.forEach(draw);
  }
  function choose(view, row, keyboard) {
    const index = view.order[row], unit = view.units[index];
    const own = about(view.site, unit);
    selected = own.length ? own[0].number : null;
    views.forEach(draw);
    const look = view.cursor?.look ?? 0;
    show(told(view, { row, look }) + (own.length ? "" : ". No finding names it."),
      own.map((finding) => link(`#finding-${finding.number}`, `Finding ${finding.number}: ${finding.title}`)));
    if (keyboard) panel.querySelector("a, button").focus();
  }
  function clear() {
    panel.hidden = true;
    selected = null;
    try { history.replaceState(null, "", location.pathname + location.search); } catch { /* the link stays */ }
    views.forEach(draw);
  }
  function follow() {
    const [, place, text] = /^#(finding|units)-(\d+)$/.exec(location.hash) ?? [];
    if (!text) return;
    select(Number(text));
    const finding = findings[Number(text) - 1];
    if (place !== "units" || !finding) return;
    const at = views.filter((view) => view.site.name === finding.site);
    const view = at.find((each) => each.tall) ?? at[0];
    if (!view) return;
    view.holder.scrollIntoView({ block: "center" });
    view.holder.focus({ preventScroll: true });
  }
  window.addEventListener("hashchange", follow);
  // A second click on the same link changes no address.
  document.addEventListener("click", (event) => {
    const target = event.target.closest?.("a[href^='#finding-'], a[href^='#units-']");
    if (target && target.hash === location.hash) setTimeout(follow);
  });
  panel.querySelector("button").addEventListener("click", clear);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
  document.addEventListener("site", ({ detail }) => {
    const known = sites.some((site) => site.name === detail);
    for (const part of document.querySelectorAll(".row[data-site], .map[data-site]")) {
      part.hidden = known && sites[Number(part.dataset.site)].name !== detail;
    }
  });

  // --- pointer and keys
  const rows = views.filter((view) => !view.tall);
  function cellAt(view, event) {
    const box = view.canvas.getBoundingClientRect();
    const part = (value, size, many) => Math.max(0, Math.min(many - 1, Math.floor((value / size) * many)));
    const across = part(event.clientX - box.left, box.width, view.tall ? view.looks : view.units.length);
    return view.tall ? { row: part(event.clientY - box.top, box.height, view.units.length), look: across }
      : { row: across, look: 0 };
  }
  function step(view, key) {
    const cursor = view.cursor;
    const [rowKeys, lookKeys] = view.tall ? [["ArrowUp", "ArrowDown"], ["ArrowLeft", "ArrowRight"]]
      : [["ArrowLeft", "ArrowRight"], []];
    const bound = (value, many) => Math.max(0, Math.min(many - 1, value));
    if (rowKeys.includes(key)) cursor.row = bound(cursor.row + (key === rowKeys[1] ? 1 : -1), view.units.length);
    else if (lookKeys.includes(key)) cursor.look = bound(cursor.look + (key === lookKeys[1] ? 1 : -1), view.looks);
    else if (key === "Home") cursor.row = 0;
    else if (key === "End") cursor.row = view.units.length - 1;
    else return false;
    return true;
  }
  function readAtCursor(view) {
    const box = view.canvas.getBoundingClientRect();
    const { row, look } = view.cursor;
    const x = view.tall ? (look + 0.5) / view.looks : (row + 0.5) / view.units.length;
    const y = view.tall ? (row + 0.5) / view.units.length : 1;
    read(view, box.left + x * box.width, box.top + y * box.height, true);
  }
  for (const view of views) {
    view.holder.addEventListener("pointermove", (event) => {
      view.cursor = cellAt(view, event);
      read(view, event.clientX, event.clientY, false);
    });
    view.holder.addEventListener("pointerleave", () => leave(view));
    view.holder.addEventListener("click", (event) => {
      view.cursor = cellAt(view, event);
      choose(view, view.cursor.row, false);
    });
    view.holder.addEventListener("blur", () => leave(view));
    view.holder.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Tab" || event.key === "Escape") return;
      const start = Math.max(0, view.order.findIndex((index) => selected && lit(view, index)));
      view.cursor ??= { row: start, look: view.looks - 1 };
      if (!view.tall && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
        const shown = rows.filter((each) => !each.holder.closest("[hidden]"));
        const next = shown[shown.indexOf(view) + (event.key === "ArrowDown" ? 1 : -1)];
        if (next) {
          // One stop of the Tab key for all rows.
          for (const each of rows) each.holder.tabIndex = each === next ? 0 : -1;
          next.holder.focus();
          next.cursor = { row: 0, look: 0 };
          readAtCursor(next);
        }
      } else if (event.key === "Enter" || event.key === " ") {
        choose(view, view.cursor.row, true);
      } else if (!step(view, event.key)) {
        return;
      } else {
        readAtCursor(view);
      }
      event.preventDefault();
    });
  }
  for (const label of document.querySelectorAll(".order")) {
    label.hidden = false;
    label.querySelector("select").addEventListener("change", (event) => {
      byDeath = event.target.value === "death";
      for (const view of views.filter((each) => each.tall)) {
        const key = (index) => (byDeath ? view.since[index] ?? Infinity : 0);
        view.order.sort((a, b) => (key(a) === key(b) ? a - b : key(a) - key(b)));
        draw(view);
      }
    });
  }

  views.forEach(draw);
  follow();
  document.documentElement.dataset.maps = String(views.length);
  performance.mark("drawn");
})();
