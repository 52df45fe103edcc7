// Draws the page's figures in the colours of its style sheet, and again when the colour scheme changes or it is printed.
(() => {
  "use strict";
  const charts = [...document.querySelectorAll(".chart")];
  const fine = matchMedia("(pointer: fine)");
  const config = { displayModeBar: false, displaylogo: false, responsive: false, showTips: false };

  // Replaces `var(--p95)` anywhere in a figure by the colour that the style sheet currently has.
  const resolve = (value, style) => {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((one) => resolve(one, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolve(one, style)]));
  };

  const template = {
    layout: {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "var(--muted)" },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 8, r: 8, t: 8, b: 8 },
      legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", font: { color: "var(--ink)" } },
      hoverlabel: { bgcolor: "var(--raised)", bordercolor: "var(--line)", font: { color: "var(--ink)" } },
      xaxis: axis(),
      yaxis: axis(),
      yaxis2: axis(),
    },
  };

  function axis() {
    return {
      automargin: true, gridcolor: "var(--grid)", zerolinecolor: "var(--line)", linecolor: "var(--line)",
      tickcolor: "var(--line)", title: { standoff: 8 }, exponentformat: "none", separatethousands: true,
      ticklabelstandoff: 4, fixedrange: true,
      spikecolor: "var(--muted)", spikethickness: -1, spikedash: "solid",
    };
  }

  const draw = (chart) => {
    const style = getComputedStyle(document.documentElement);
    const figure = JSON.parse(chart.nextElementSibling.textContent);
    const layout = resolve({ ...figure.layout, template }, style);
    const size = { width: chart.clientWidth, height: chart.clientHeight };
    return Plotly.react(chart, resolve(figure.data, style), { ...layout, ...size, dragmode: false }, config);
  };
  const drawAll = () => charts.forEach(draw);

  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone shows or hides its address bar: only the height changes
    width = innerWidth;
    requestAnimationFrame(drawAll);
  });

  // Print with the width and colours of paper, and with every folded table open.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("paper");
    document.querySelectorAll("details:not([open])").forEach((one) => { one.open = true; one.dataset.was = "folded"; });
    drawAll();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("paper");
    document.querySelectorAll("details[data-was]").forEach((one) => { one.open = false; delete one.dataset.was; });
    drawAll();
  });
})();
