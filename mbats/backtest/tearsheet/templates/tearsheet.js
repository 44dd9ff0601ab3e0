"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page").textContent);
  // Where nothing can hover, Plotly would lay its tools over the chart for good.
  const hovers = window.matchMedia("(hover: hover)").matches;
  const config = {
    displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"],
    displayModeBar: hovers && "hover",
  };
  const chosen = {};

  // Figures name their colours as CSS variables: the page's theme decides what they are.
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const paint = (value) => {
      if (typeof value === "string" && value.startsWith("var(--")) {
        return style.getPropertyValue(value.slice(4, -1)).trim();
      }
      if (Array.isArray(value)) return value.map(paint);
      if (value !== null && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, paint(part)]));
      }
      return value;
    };
    return paint;
  };

  const axis = (name, own) => ({
    gridcolor: "var(--line)", zerolinecolor: "var(--line)", linecolor: "var(--line)",
    automargin: true, ...(name.startsWith("x") && !own.type && !own.title ? { type: "date" } : {}), ...own,
  });

  const layoutOf = (variant, narrow) => {
    const layout = { ...variant.layout };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(layout)])) {
      if (/^[xy]axis\d*$/.test(name)) layout[name] = axis(name, layout[name] || {});
    }
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "var(--muted)" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: narrow ? 44 : 56, r: 10, t: 8, b: 24 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { bgcolor: "var(--surface)", bordercolor: "var(--line)", font: { color: "var(--ink)" } },
      ...layout,
    };
  };

  const draw = (element) => {
    const key = element.dataset.key;
    const variants = page.figures[key];
    const variant = variants[chosen[key] ?? Object.keys(variants)[0]];
    const paint = colours();
    const layout = layoutOf(variant, element.clientWidth < 480);
    document.querySelector(`[data-note="${key}"]`).textContent = variant.note || "";
    const data = variant.data.map((trace) =>
      trace.x === "same as the first" ? { ...trace, x: variant.data[0].x } : trace);
    return Plotly.react(element, paint(data), paint(layout), config);
  };

  const drawAll = () => Promise.all([...document.querySelectorAll(".plot")].map(draw));

  for (const select of document.querySelectorAll("select[data-for]")) {
    select.addEventListener("change", () => {
      chosen[select.dataset.for] = select.value;
      draw(document.getElementById(`plot-${select.dataset.for}`));
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is light and narrower than the screen, and is laid out only after this event.
  const print = (printing) => () => {
    document.documentElement.classList.toggle("printing", printing);
    for (const plot of document.querySelectorAll(".plot")) plot.style.width = printing ? "660px" : "";
    drawAll();
  };
  window.addEventListener("beforeprint", print(true));
  window.addEventListener("afterprint", print(false));

  const tradeTable = (trades) => {
    const size = 25;
    const head = document.querySelector("#trades thead tr");
    const body = document.querySelector("#trades tbody");
    const [back, on, place] = ["back", "on", "place"].map((id) => document.getElementById(id));
    let rows = trades.rows, first = 0, sorted = null, down = false;

    const cell = (tag, column, text) => {
      const made = document.createElement(tag);
      made.className = column.left ? "left" : "right";
      made.textContent = text;
      return made;
    };
    const show = () => {
      body.replaceChildren(...rows.slice(first, first + size).map((row) => {
        const line = document.createElement("tr");
        line.append(...row.map(([, text, tone], index) => {
          const made = cell("td", trades.columns[index], text);
          if (tone) made.classList.add(tone);
          return made;
        }));
        return line;
      }));
      const last = Math.min(first + size, rows.length);
      place.textContent = `${first + 1}–${last} of ${rows.length.toLocaleString("en")}`;
      back.disabled = first === 0;
      on.disabled = last === rows.length;
    };
    const sort = (index, heading) => {
      down = sorted === index ? !down : false;
      sorted = index;
      const sign = down ? -1 : 1;
      rows = [...trades.rows].sort(([...a], [...b]) =>
        a[index][0] < b[index][0] ? -sign : a[index][0] > b[index][0] ? sign : 0);
      for (const other of head.children) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      first = 0;
      show();
    };
    trades.columns.forEach((column, index) => {
      const heading = cell("th", column, "");
      heading.scope = "col";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = column.name;
      button.addEventListener("click", () => sort(index, heading));
      heading.append(button);
      head.append(heading);
    });
    back.addEventListener("click", () => { first -= size; show(); });
    on.addEventListener("click", () => { first += size; show(); });
    show();
  };

  if (page.trades.total) tradeTable(page.trades);
  drawAll().then(() => { document.documentElement.dataset.drawn = "yes"; });
})();
