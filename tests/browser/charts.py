"""The charts of a report, which are drawn only when they come near the window."""

# Scrolls to each chart, and waits until it is there.
DRAW_ALL = """async () => {
  for (const chart of document.querySelectorAll(".chart")) {
    chart.scrollIntoView();
    while (!chart.querySelector(".main-svg")) await new Promise(requestAnimationFrame);
  }
}"""
