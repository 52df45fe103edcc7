// The page's behaviour: charts in the colours of its style sheet, drawn when they come near the window; the contents list
// that shows where the reader is; tables that fold, sort and can be searched.
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const charts = all(".chart");
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
      uniformtext: { minsize: 11, mode: "hide" }, // in bars; what is too small to read is in the table
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

  // Running the bundle takes longer than the rest of the page together, so nothing runs it before a chart is needed.
  const load = () => {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("bundle").textContent;
    document.head.append(script);
  };

  const drawn = new Set();
  const draw = (chart) => {
    load();
    drawn.add(chart);
    const style = getComputedStyle(document.documentElement);
    const figure = JSON.parse(chart.nextElementSibling.textContent);
    const layout = resolve({ ...figure.layout, template }, style);
    const size = { width: chart.clientWidth, height: chart.clientHeight };
    return Plotly.react(chart, resolve(figure.data, style), { ...layout, ...size, dragmode: false }, config);
  };
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "400px" });
  charts.forEach((chart) => near.observe(chart));

  // After the load, the sections below the window are laid out and the other charts drawn, one at a time: scrolling finds
  // them ready, and so does a picture of the whole page. Between two of them the page answers its reader. A browser that
  // is asked for idle time waits up to 50 ms before each.
  const soon = (then) => setTimeout(then, 0);
  const sections = all("main > section");
  const layOutNext = () => {
    const section = sections.shift();
    if (section) section.style.contentVisibility = "visible";
    soon(section ? layOutNext : drawNext);
  };
  const drawNext = () => {
    const chart = charts.find((one) => !drawn.has(one));
    if (!chart) return;
    near.unobserve(chart);
    draw(chart);
    soon(drawNext);
  };
  addEventListener("load", () => soon(layOutNext));
  const drawAgain = () => [...drawn].filter((chart) => chart.clientWidth).forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone shows or hides its address bar: only the height changes
    width = innerWidth;
    requestAnimationFrame(drawAgain);
  });

  // Where the reader is: the last section that has begun above the upper third of the window.
  const links = all("nav a");
  const places = links.map((link) => document.getElementById(link.hash.slice(1)));
  const mark = () => {
    const begun = places.filter((place) => place.getBoundingClientRect().top < innerHeight / 3).length;
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const current = atEnd && scrollY > 0 ? links.length - 1 : Math.max(0, begun - 1);
    links.forEach((link, place) => {
      if (place === current && !link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "true");
        const list = link.parentElement;
        if (list.scrollWidth > list.clientWidth) list.scrollLeft = link.offsetLeft - 16;
      } else if (place !== current) link.removeAttribute("aria-current");
    });
  };
  addEventListener("scroll", mark, { passive: true });
  mark();

  // One button opens and folds every table.
  const folded = all("main details");
  const button = document.getElementById("tables");
  button.hidden = !folded.length;
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Fold all tables" : "Show all tables";
    folded.forEach((one) => { one.open = open; });
  });

  // A cell by which a table is sorted: the number that it begins with, in ms if it is a time, otherwise its text, such
  // as that of a date or of a commit.
  const worth = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const found = /^[+-]?[\d,]*\.?\d+(?:e[+-]\d+)?(?![\w.,:/-])/.exec(text);
    if (!found) return text;
    const number = parseFloat(found[0].replace(/,/g, ""));
    return /^[\d.,]+ s$/.test(text) ? 1000 * number : number;
  };
  const order = (one, other) => {
    if (typeof one === typeof other) return typeof one === "number" ? one - other : one.localeCompare(other);
    return typeof one === "number" ? -1 : 1;
  };
  for (const table of all(".sortable")) {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      const sort = document.createElement("button");
      sort.type = "button";
      sort.append(...head.childNodes);
      head.append(sort);
      sort.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((one, other) => order(worth(one, column), worth(other, column)));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
    if (body.rows.length < 8) continue;
    const search = document.createElement("input");
    search.type = "search";
    search.className = "search";
    search.placeholder = "Show only rows with …";
    search.setAttribute("aria-label", `Show only some rows of: ${table.caption.textContent}`);
    search.addEventListener("input", () => {
      const wanted = search.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    table.parentElement.before(search);
  }

  // Print with the width and colours of paper, with every chart drawn and every folded table open.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("paper");
    all("details:not([open])").forEach((one) => { one.open = true; one.dataset.was = "folded"; });
    charts.forEach(draw);
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("paper");
    all("details[data-was]").forEach((one) => { one.open = false; delete one.dataset.was; });
    drawAgain();
  });
})();
