"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const charts = JSON.parse(document.getElementById("charts").textContent);
  let chosen = null; // by the button; until then the system's theme holds

  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const narrow = () => innerWidth < 600;

  const PAPER = 660; // pixels of a chart on A4 or Letter, of which the margins leave 688
  const LOWER = 0.8; // of its height on the screen, so that two find room on a page

  // What of a chart's layout depends on theme and width, by Plotly's dotted paths.
  function looks(layout) {
    const changes = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      "font.color": color("--ink"),
      "hoverlabel.bgcolor": color("--card"),
      "hoverlabel.bordercolor": color("--line"),
      "hoverlabel.font.color": color("--ink"),
    };
    for (const axis of Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name))) {
      changes[`${axis}.gridcolor`] = color("--grid");
      changes[`${axis}.linecolor`] = color("--line");
      changes[`${axis}.tickfont.color`] = color("--soft");
      changes[`${axis}.title.font.color`] = color("--soft");
    }
    (layout.annotations || []).forEach((_, i) => {
      changes[`annotations[${i}].font.color`] = color("--soft");
      changes[`annotations[${i}].bgcolor`] = color("--card");
    });
    return changes;
  }

  async function draw(chart) {
    const box = document.getElementById(chart.id);
    const layout = {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5 },
      margin: { l: 8, r: 10, t: 8, b: 8 },
      legend: { orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom", font: { size: narrow() ? 11 : 12 } },
      hovermode: "closest",
      hoverlabel: { namelength: -1, align: "left" },
      dragmode: false,
      ...chart.layout,
    };
    const options = { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: false };
    await Plotly.newPlot(box, chart.data, layout, options);
    await Plotly.relayout(box, looks(layout));
    // The canvas is for the eye; the label and the caption say what it shows.
    box.querySelectorAll("svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
  }

  function setTheme() {
    if (before !== null) return; // on paper
    const dark = chosen === null ? system.matches : chosen === "dark";
    root.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
    for (const box of document.querySelectorAll(".js-plotly-plot")) Plotly.relayout(box, looks(box.layout));
  }

  // Paper is light and has a width of its own; what is folded away on the screen is written out on it.
  const opened = [];
  let before = null;

  function toPaper() {
    if (before !== null) return;
    before = root.dataset.theme;
    root.dataset.theme = "light";
    root.classList.add("paper");
    for (const each of document.querySelectorAll("details:not([open]):not(.screen)")) {
      each.open = true;
      opened.push(each);
    }
    for (const box of document.querySelectorAll(".js-plotly-plot")) {
      box.dataset.screen = box.style.height;
      const height = Math.round(LOWER * parseFloat(box.style.height));
      box.style.height = `${height}px`;
      Plotly.relayout(box, { ...looks(box.layout), autosize: false, width: PAPER, height });
    }
  }

  function fromPaper() {
    if (before === null) return;
    root.dataset.theme = before;
    root.classList.remove("paper");
    before = null;
    for (const each of opened.splice(0)) each.open = false;
    for (const box of document.querySelectorAll(".js-plotly-plot")) {
      box.style.height = box.dataset.screen;
      Plotly.relayout(box, { ...looks(box.layout), autosize: true, width: null, height: null });
    }
  }

  function remembered(value) {
    try {
      if (value) localStorage.setItem("ostinato-theme", value);
      return localStorage.getItem("ostinato-theme");
    } catch {
      return value || null; // storage is switched off: the choice lasts as long as the page
    }
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // no permission, or an old browser
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "hidden";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  button.addEventListener("click", () => {
    chosen = remembered(root.dataset.theme === "dark" ? "light" : "dark");
    setTheme();
  });
  system.addEventListener("change", setTheme);
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", fromPaper);
  for (const each of document.querySelectorAll(".copy")) {
    each.addEventListener("click", async () => {
      const done = await copy(each.parentElement.querySelector("code").textContent);
      each.focus();
      each.textContent = done ? "Copied" : "Not copied";
      document.getElementById("status").textContent = each.textContent;
      setTimeout(() => { each.textContent = "Copy"; }, 1500);
    });
  }

  chosen = remembered();
  setTheme();
  Promise.all(charts.map((chart) => draw({ ...chart }))).then(() => { root.dataset.drawn = "true"; });
})();
