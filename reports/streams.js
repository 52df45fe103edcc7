// Links to single streams, and the replay of their answers.
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // `#stream=17` opens that stream, also if it is the page's own address.
  const named = () => {
    try {
      return decodeURIComponent(location.hash.slice(1)); // some programs write `=` as %3D
    } catch {
      return ""; // no address of ours
    }
  };
  const open = () => {
    const found = document.getElementById(named());
    if (!found || !found.matches("details.stream")) return;
    found.open = true;
    found.scrollIntoView({ block: "center" });
    found.querySelector("summary").focus({ preventScroll: true });
  };
  addEventListener("hashchange", open);
  open();

  const player = document.querySelector(".replay");
  if (!player) return;
  const times = JSON.parse(document.querySelector(".times").textContent);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const part = (name) => player.querySelector(name);
  const play = part(".play"), fast = part(".fast"), seek = part(".seek input"), clock = part(".clock");
  const WORD = 6; // characters of a block, unless that would make too many
  const MOST_BLOCKS = 3000; // of a stream: each is an element of the page

  let lanes = [], end = 1, now = 0, before = 0;
  let halt = null; // ends the motion; null: nothing moves
  let untouched = true; // nobody has played or moved it yet

  const lane = (screen) => {
    const { at, characters } = times[screen.dataset.stream];
    const size = Math.max(WORD, characters.reduce((sum, each) => sum + each, 0) / MOST_BLOCKS);
    screen.replaceChildren();
    // A block belongs to the chunk that completes it.
    const blocks = [];
    let left = 0;
    at.forEach((moment, place) => {
      for (left += characters[place]; left >= size; left -= size) blocks.push(moment);
      if (!characters[place]) blocks.push(moment); // thinking and tools, which show as one block
    });
    const spans = blocks.map((moment, place) => {
      const span = document.createElement("span");
      span.style.width = `${1.2 + ((place * 7) % 5) / 2}em`;
      return span;
    });
    screen.append(...spans);
    return { screen, blocks, spans, shown: 0, told: screen.nextElementSibling, first: at[0], last: at[at.length - 1] };
  };

  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const show = () => {
    for (const each of lanes) {
      let shown = each.shown;
      while (shown < each.blocks.length && each.blocks[shown] <= now) each.spans[shown++].className = "came";
      while (shown > 0 && each.blocks[shown - 1] > now) each.spans[--shown].className = "";
      if (shown > each.shown) each.spans[shown - 1].scrollIntoView && (each.screen.scrollTop = each.spans[shown - 1].offsetTop - each.screen.clientHeight + 24);
      each.shown = shown;
      each.told.textContent = now < each.first ? "waiting for the first token" : now >= each.last ? `the last words came after ${seconds(each.last)}` : "reading along";
    }
    clock.textContent = seconds(now);
    seek.value = String(Math.round((1000 * now) / end));
  };

  const stop = () => {
    halt?.();
    halt = null;
    play.textContent = "Play";
  };
  const step = (moment) => {
    now = Math.min(end, now + (moment - before) * (fast.checked ? 4 : 1));
    before = moment;
    show();
    if (now >= end) stop();
    else move();
  };
  const move = () => {
    // Who asked for less motion sees one step a second.
    if (calm.matches) {
      const timer = setTimeout(() => step(performance.now()), 1000);
      halt = () => clearTimeout(timer);
    } else {
      const frame = requestAnimationFrame(step);
      halt = () => cancelAnimationFrame(frame);
    }
  };
  play.addEventListener("click", () => {
    if (halt) return stop();
    if (untouched || now >= end) now = 0;
    untouched = false;
    show();
    play.textContent = "Pause";
    before = performance.now();
    move();
  });
  seek.addEventListener("input", () => {
    untouched = false;
    now = (end * seek.value) / 1000;
    show();
  });

  // What is seen before it plays: half of the first answer, with how far the others are then; with less motion, the end.
  const still = () => (calm.matches ? end : lanes[0].blocks[lanes[0].blocks.length >> 1] ?? end);
  const arrange = () => {
    lanes = all(".screen[data-stream]", player).map(lane);
    end = Math.max(1, ...lanes.map((each) => each.last));
    now = Math.min(untouched ? still() : now, end);
    show();
  };
  all(".pick").forEach((button) => button.addEventListener("click", () => {
    const phone = part(".picked");
    phone.hidden = false;
    phone.querySelector("figcaption").textContent = `Stream ${button.dataset.stream}`;
    const screen = phone.querySelector(".screen");
    screen.dataset.stream = button.dataset.stream;
    screen.setAttribute("aria-label", `Replay of stream ${button.dataset.stream}`);
    stop();
    untouched = false;
    now = 0;
    arrange();
    player.scrollIntoView({ block: "center" });
    play.focus({ preventScroll: true });
  }));
  player.hidden = false;
  arrange();
})();
