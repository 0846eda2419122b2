// The report: charts are drawn when they come near the screen, the others when there is time, and all again when the colour scheme changes.
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const wanted = { element: "", level: "", domain: "" };
  const paper = location.hash === "#print"; // as `pesatlas report --pdf` opens it: two charts side by side on A4
  const views = new Map();
  const colours = new Map(); // column that the points of a figure are coloured by

  // columns to rows, once for each table; a view gets copies, since Vega marks the rows that it takes
  const rows = {};
  const rowsOf = (name) => {
    if (!rows[name]) {
      const columns = page.tables[name];
      const names = Object.keys(columns);
      const length = names.length ? columns[names[0]].length : 0;
      rows[name] = Array.from({ length }, (_, i) => Object.fromEntries(names.map((key) => [key, columns[key][i]])));
    }
    return rows[name];
  };
  const tablesOf = (spec) => [spec.data && spec.data.name, ...(spec.layer || []).flatMap(tablesOf)].filter(Boolean);

  async function draw(figure) {
    const name = figure.dataset.figure;
    const spec = structuredClone(page.figures[name].spec);
    if (paper) {
      spec.width = page.figures[name].square ? 290 : 390;
      spec.height = page.figures[name].square ? 290 : 225;
      if (!page.figures[name].square) spec.autosize = { type: "fit", contains: "padding" };
    } else if (page.figures[name].square) {
      // as wide as its place, but for the axis
      spec.width = spec.height = Math.max(Math.min(spec.width, figure.clientWidth - 110), 160);
    }
    const colour = page.figures[name].colours[colours.get(name)];
    if (colour) for (const layer of spec.layer) layer.encoding.color = colour;
    spec.datasets = Object.fromEntries(tablesOf(spec).map((table) => [table, rowsOf(table).map((row) => ({ ...row }))]));
    const options = {
      actions: false,
      // a choice may leave a chart without rows, and its scales without ends: no warnings of that
      logLevel: 1, // errors, of Vega's levels
      config: dark.matches ? page.themes.dark : page.themes.light,
      renderer: page.figures[name].rows > 1500 ? "canvas" : "svg",
      tooltip: { theme: dark.matches ? "dark" : "light" },
      // nothing is ever loaded: everything is in this file
      loader: { load: () => Promise.reject(new Error("this page loads nothing")) },
    };
    const { view } = await vegaEmbed(figure.querySelector(".chart"), spec, options);
    views.set(name, view);
    figure.view = view; // for those who want to look at it in the console
    apply(view);
    if (name === "elements") {
      view.addEventListener("click", (_, item) => {
        const symbol = item && item.datum && item.datum.symbol;
        if (symbol && item.datum.rows) choose("element", symbol === wanted.element ? "" : symbol);
      });
    }
    if (name === "map") {
      view.addEventListener("click", (_, item) => item && item.datum && item.datum.snapshot_id && show(item.datum.snapshot_id));
    }
  }

  function apply(view) {
    for (const [key, value] of Object.entries(wanted)) {
      try {
        view.signal(key, value);
      } catch {
        continue; // a chart that has no such choice
      }
    }
    view.runAsync();
  }

  function choose(key, value) {
    wanted[key] = value;
    byId(key).value = value;
    for (const view of views.values()) apply(view);
    const chosen = Object.values(wanted).filter(Boolean).join(", ");
    byId("shown").textContent = chosen ? `Shown: ${chosen}` : "";
    document.querySelectorAll("figure[data-figure]").forEach(count);
    document.querySelectorAll(".gallery tbody tr").forEach((row) => (row.hidden = Boolean(wanted.element) && !row.dataset.elements.includes(`|${wanted.element}|`)));
  }

  // how many rows a figure shows, below it; the page says how many there are without a choice
  function count(figure) {
    const text = figure.querySelector(".rows");
    const all = rowsOf(page.figures[figure.dataset.figure].data);
    const left = all.filter(passes).length;
    text.dataset.all ??= text.textContent;
    text.textContent = left < all.length ? `${left.toLocaleString("en")} of these ${all.length.toLocaleString("en")} rows are shown.` : text.dataset.all;
  }

  const passes = (row) =>
    (!wanted.element || row.elements === undefined || row.elements.includes(`|${wanted.element}|`)) &&
    (!wanted.domain || row.domain === undefined || row.domain === wanted.domain) &&
    (!wanted.level || row.level === undefined || row.level === wanted.level);

  function save(name, content, type) {
    const link = document.createElement("a");
    link.href = typeof content === "string" && content.startsWith("data:") ? content : URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    if (link.href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function csvOf(table) {
    const names = Object.keys(page.tables[table]);
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [names, ...rowsOf(table).filter(passes).map((row) => names.map((key) => row[key]))].map((line) => line.map(cell).join(",")).join("\n") + "\n";
  }

  async function saveFigure(figure, format) {
    if (format !== "csv") await drawn(figure);
    const name = figure.dataset.figure;
    const file = `${page.name}-${name}.${format}`;
    if (format === "csv") return save(file, csvOf(page.figures[name].data), "text/csv");
    const view = views.get(name);
    if (format === "svg") return save(file, await view.toSVG(), "image/svg+xml");
    return save(file, await view.toImageURL("png", 3), "image/png");
  }

  // chemiscope is three megabytes of code: read when the first structure is asked for
  let viewer = null;
  async function show(name) {
    const frames = rowsOf("frames");
    const i = frames.findIndex((row) => row.snapshot_id === name);
    if (i < 0) return;
    byId("pick").value = name;
    const about = byId("about");
    about.replaceChildren();
    for (const [key, value] of aboutFrame(frames[i])) {
      const term = document.createElement("dt");
      const detail = document.createElement("dd");
      term.textContent = key;
      detail.textContent = value;
      about.append(term, detail);
    }
    if (!viewer) {
      const script = document.createElement("script");
      script.textContent = byId("chemiscope").textContent;
      document.body.append(script);
      const structures = page.structures.map((each, data) => ({ size: each.size, data }));
      viewer = await Chemiscope.StructureVisualizer.load(
        { structure: "viewer", meta: "viewer-meta", info: "viewer-info", loadStructure: (_, each) => page.structures[each.data] },
        {
          meta: { name: page.name },
          structures,
          properties: { snapshot_id: { target: "structure", values: frames.map((row) => row.snapshot_id) } },
          settings: { structure: [{ unitCell: true, keepOrientation: true }] },
        },
        new Chemiscope.Warnings(),
      );
    }
    viewer.structure.show({ environment: i, structure: i, atom: 0 });
    byId("structure").dataset.shown = name;
  }

  const aboutFrame = (row) =>
    [
      ["snapshot", row.snapshot_id],
      ["crystal", crystal && `frames of ${crystal}: Previous and Next show all of them; Show all lets it go`],
      ["formula", `${row.formula}, ${row.n_atoms} atoms, ${row.domain}`],
      ["in the selection", row.picked ? `yes${row.reason && `: ${row.reason}`}` : "no"],
      ["novelty", row.novelty],
      ...rowsOf("labels")
        .filter((label) => label.snapshot_id === row.snapshot_id)
        .map((label) => [
          `label at ${label.level}, ${label.verdict}`,
          `${label.cohesive_energy_eV_per_atom === null ? "" : `cohesive energy ${label.cohesive_energy_eV_per_atom} eV/atom, `}largest force ${label.max_force_eV_per_A} eV/Å, pressure ${label.static_pressure_GPa} GPa`,
        ]),
    ].filter(([, value]) => value !== null && value !== undefined && value !== "");

  // a crystal that was opened in the gallery: then all its frames, not the picks of all
  let crystal = "";
  function step(by) {
    const picks = rowsOf("frames").filter((row) => (crystal ? row.structure_id === crystal : row.picked && passes(row)));
    if (!picks.length) return;
    const now = picks.findIndex((row) => row.snapshot_id === byId("pick").value);
    show(picks[(now + by + picks.length) % picks.length].snapshot_id);
  }

  const figures = [...document.querySelectorAll("figure[data-figure]")].filter((figure) => figure.querySelector(".chart"));
  const started = new Map();
  const drawn = (figure) => started.get(figure) || started.set(figure, draw(figure)).get(figure);
  const whenSeen = (rootMargin, act) => {
    const observer = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => act(entry.target, observer)), { rootMargin });
    return observer;
  };
  const near = whenSeen("600px", (figure) => drawn(figure));
  figures.forEach((figure) => near.observe(figure));
  // the first structure, once somebody is there to see it
  const firstSeen = whenSeen("0px", (map, observer) => {
    observer.disconnect();
    if (!byId("pick").value) step(1);
  });
  const others = async () => {
    const next = figures.find((figure) => !started.has(figure));
    if (!next) return;
    await drawn(next);
    requestIdleCallback(others);
  };
  requestIdleCallback(others);
  const redraw = () => figures.filter((figure) => views.has(figure.dataset.figure)).forEach(draw);
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details.evidence").forEach((each) => (each.open = true));
    figures.forEach(drawn);
  });

  for (const key of Object.keys(wanted)) byId(key).addEventListener("change", (event) => choose(key, event.target.value));
  byId("filter").addEventListener("reset", () => (crystal = ""));
  byId("filter").addEventListener("reset", () => Object.keys(wanted).forEach((key) => choose(key, "")));
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  document.querySelectorAll("[data-colour]").forEach((choice) =>
    choice.addEventListener("change", () => {
      colours.set(choice.dataset.colour, choice.value);
      const figure = choice.closest("figure");
      drawn(figure).then(() => draw(figure));
    }),
  );
  // a campaign that has not finished may have no map yet
  if (byId("structure")) {
    firstSeen.observe(byId("structure"));
    byId("picks").append(
      ...rowsOf("frames")
        .filter((row) => row.picked)
        .map((row) => Object.assign(document.createElement("option"), { value: row.snapshot_id })),
    );
    byId("pick").addEventListener("change", (event) => show(event.target.value));
    byId("previous").addEventListener("click", () => step(-1));
    byId("following").addEventListener("click", () => step(1));
  }
  document.addEventListener("click", (event) => {
    const { save: format, frame } = event.target.dataset || {};
    if (frame) {
      crystal = rowsOf("frames").find((row) => row.snapshot_id === frame).structure_id;
      byId("structure").scrollIntoView({ block: "center" });
      show(frame);
    }
    if (format) saveFigure(event.target.closest("figure"), format);
  });
})();
