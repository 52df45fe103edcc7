/** The page: questions and answers, drawn at most once per frame, with the measurements of the newest answer. */

import { render } from "./markdown.js";
import { Answer, StreamError, streamChat } from "./streaming.js";

const at = (id) => document.getElementById(id);
const [conversation, messages, welcome, question] = ["conversation", "messages", "welcome", "question"].map(at);
const [sendButton, stopButton, settings, spoken] = ["send", "stop", "headers", "spoken"].map(at);

const roomy = matchMedia("(min-width: 60rem)"); // as in style.css: measurements and settings are beside the answers

let turns = []; // of this conversation: {asked, answer, element}
let running = null; // the AbortController of the answer that is streaming

async function ask(asked) {
  const mine = new AbortController();
  const turn = { asked, answer: new Answer(), element: newTurn(asked) };
  const body = { messages: [...history(), { role: "user", content: asked }], ...requestOptions() };
  const started = performance.now();
  running = mine;
  turns.push(turn);
  welcome.hidden = true;
  if (!roomy.matches) at("settings").open = false; // the settings would cover the answer
  showRunning(true);
  say("Waiting for the answer.");
  conversation.scrollTop = conversation.scrollHeight;

  let note = "waiting for the first token";
  let frame = null;
  const draw = (finished) => {
    frame = null;
    const follows = conversation.scrollHeight - conversation.scrollTop - conversation.clientHeight < 64;
    drawAnswer(turn, note);
    if (turns.at(-1) === turn) drawGauges(turn.answer, finished ? null : performance.now() - started);
    sayFinished(turn, finished);
    if (follows) conversation.scrollTop = conversation.scrollHeight;
    if (!finished) frame = requestAnimationFrame(() => draw(false)); // also while nothing arrives, because the clock runs
  };
  draw(false);

  let fault = null;
  try {
    const options = { url: "chat/stream", cancelUrl: (id) => `streams/${encodeURIComponent(id)}/cancel` };
    for await (const event of streamChat({ ...options, body, headers: headers(), signal: mine.signal })) {
      turn.answer.take(event);
      if (event.type === "reconnecting") {
        note = `${event.reason} Reconnecting, attempt ${event.attempt}.`;
        say(note);
      } else if (event.type !== "open") {
        note = "";
      }
    }
  } catch (caught) {
    fault = caught;
  }
  cancelAnimationFrame(frame);
  turn.element.classList.remove("growing");
  note = summary(turn.answer, mine.signal.aborted ? "stopped by you" : fault ? "broken off" : ending(turn.answer));
  draw(true);
  if (running === mine) {
    running = null;
    showRunning(false);
  }
  if (mine.signal.aborted) say("Stopped.");
  else if (fault) showFault(turn, fault);
  else say("The answer is complete.");
}

function history() {
  return turns
    .flatMap(({ asked, answer }) => [{ role: "user", content: asked }, { role: "assistant", content: answer.text }])
    .filter(({ content }) => content);
}

function requestOptions() {
  const tools = at("tools").checked ? at("tools").dataset.names.split(" ") : [];
  return { stream: !at("whole").checked, thinking: at("thinking").checked, tools };
}

function headers() {
  const values = {};
  for (const { name, value, labels } of settings.querySelectorAll("input[name]")) {
    if (!/^[ -~]*$/.test(value)) {
      const label = labels[0].textContent.trim();
      throw new StreamError("refused", `The setting “${label}” has a character that a request header cannot carry.`);
    }
    if (value.trim()) values[name] = value.trim();
  }
  return values;
}

// Drawing. What a server sends becomes text nodes only. Elements are made here and in markdown.js.

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function newTurn(asked) {
  const made = element(
    "li",
    "turn growing",
    element("div", "question", element("span", "unseen", "You asked: "), element("p", "", asked)),
    element("div", "answer", element("span", "unseen", "The answer: "), element("div", "parts"), element("p", "meta")),
  );
  made.querySelector(".question p").dir = "auto";
  messages.append(made);
  return made;
}

function drawAnswer({ answer, element: turn }, note) {
  const parts = turn.querySelector(".parts");
  answer.parts.forEach((part, index) => {
    const shown = parts.children[index] ?? parts.appendChild(CREATE[part.kind](part));
    const growing = turn.classList.contains("growing");
    const state = part.kind === "tool" ? `${part.seconds} ${growing}` : part.text.length;
    if (shown.state === state) return;
    shown.state = state;
    DRAW[part.kind](shown, part, growing);
  });
  const meta = turn.querySelector(".meta");
  if (meta.textContent !== note) meta.textContent = note;
}

const CREATE = {
  text: () => element("div", "text"),
  thinking: () => element("details", "thinking", element("summary", "", "Thinking"), element("p", "")),
  tool: () => element("div", "tool"),
};

const DRAW = {
  text: (target, { text }) => render(target, text),
  thinking: (target, { text }) => {
    target.lastElementChild.textContent = text;
  },
  tool: (target, { name, input, result, failed, seconds }, growing) => {
    const over = seconds !== null;
    const state = over ? (failed ? "failed" : "done") : growing ? "running" : "left unfinished";
    const time = Number.isFinite(seconds) ? ` after ${milliseconds(seconds * 1000)}` : "";
    target.className = `tool ${over ? state : growing ? "busy" : ""}`;
    target.replaceChildren(
      element("p", "", element("b", "", brief(name)), " ", element("span", "", state + time)),
      element("code", "", brief(input)),
    );
    if (over) target.append(element("p", "", brief(result)));
    if (growing && state !== "done") say(`The tool ${brief(name)}: ${state}.`);
  },
};

function drawGauges(answer, waited) {
  const waiting = waited !== null && answer.ttft === null;
  const { tokens, tokensPerSecond, usage, gaps } = answer;
  const ttft = waiting ? waited : answer.ttft;
  put("ttft", ttft === null ? "–" : milliseconds(ttft));
  at("ttft").classList.toggle("running", waiting);
  put("speed", tokensPerSecond === null ? "–" : number(tokensPerSecond));
  put("tokens", tokens ? number(tokens) : "–");
  put("input", usage?.input_tokens === undefined ? "received" : `for ${number(usage.input_tokens)} of input`);
  const longest = Math.max(...gaps);
  const middle = [...gaps].sort((a, b) => a - b)[gaps.length >> 1];
  put(
    "itl",
    gaps.length
      ? `median ${milliseconds(middle)}, longest ${milliseconds(longest)}, n = ${gaps.length}`
      : "the gaps between tokens",
  );
  drawGaps(gaps.slice(-120), Math.min(longest, 5 * middle));
}

/** A bar for each gap. Bars are cut at `ceiling` and then highlighted, or one pause would flatten all others. */
function drawGaps(gaps, ceiling) {
  const bars = gaps.map((gap, index) => {
    const height = Math.max(1, Math.min(gap / ceiling, 1) * 46);
    return { high: gap >= ceiling, path: `M${241 - 2 * (gaps.length - index)} 48v${-height}` };
  });
  for (const high of [false, true]) {
    const paths = bars.filter((bar) => bar.high === high).map((bar) => bar.path);
    document.querySelector(high ? "#gaps .high" : "#gaps .usual").setAttribute("d", paths.join(""));
  }
}

function showFault(turn, fault) {
  const known = fault instanceof StreamError;
  const message = known ? fault.message : `This page failed: ${fault.message}.`;
  const again = element("button", "quiet", "");
  again.type = "button";
  again.addEventListener("click", () => {
    if (running) return;
    turns = turns.filter((other) => other !== turn);
    turn.element.remove();
    ask(turn.asked);
  });
  turn.element.append(element("div", "error", element("p", "", message), again));
  say(message);
  if (!known) console.error(fault);

  let left = Math.ceil(fault.retryAfter ?? 0);
  const countDown = () => {
    again.disabled = left > 0;
    again.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left-- > 0) setTimeout(countDown, 1000);
  };
  countDown();
  conversation.scrollTop = conversation.scrollHeight;
}

function showRunning(isRunning) {
  const focused = document.activeElement;
  sendButton.hidden = isRunning;
  stopButton.hidden = !isRunning;
  if (focused === sendButton) stopButton.focus();
  // Focusing the question would open a phone's keyboard over the answer.
  else if (focused === stopButton) (matchMedia("(pointer: fine)").matches ? question : conversation).focus();
}

// For screen readers: each paragraph when it is complete, and changes of state, but not single tokens.

function sayFinished(turn, finished) {
  const blocks = turn.element.querySelectorAll(".text > *");
  const whole = finished ? blocks.length : blocks.length - 1;
  for (turn.spokenBlocks ??= 0; turn.spokenBlocks < whole; turn.spokenBlocks++) say(blocks[turn.spokenBlocks].textContent);
}

function say(text) {
  spoken.append(element("p", "", text));
  while (spoken.children.length > 8) spoken.firstElementChild.remove();
}

// Words and numbers

function put(id, text) {
  const target = at(id);
  if (target.textContent !== text) target.textContent = text;
}

function number(value) {
  return Number(value).toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

function milliseconds(value) {
  return `${number(value)} ms`;
}

function brief(value) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

function ending({ streaming, usage }) {
  const reason = usage?.stop_reason === "max_tokens" ? "cut at its length limit" : "complete";
  return streaming ? reason : `${reason}, in one piece`;
}

function summary({ ttft, tokensPerSecond, tokens }, end) {
  const first = ttft === null ? [] : [`TTFT ${milliseconds(ttft)}`];
  const speed = tokensPerSecond === null ? [] : [`${number(tokensPerSecond)} tokens/s`];
  const count = [`${number(tokens)} token${tokens === 1 ? "" : "s"}`];
  return [...first, ...speed, ...count, end].join(" · ");
}

// User input

function send() {
  const asked = question.value.trim();
  if (!asked || running) return;
  question.value = "";
  fit();
  ask(asked);
}

function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight + 2}px`;
}

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
settings.addEventListener("submit", (event) => event.preventDefault());
question.addEventListener("input", fit);
question.addEventListener("keydown", (event) => {
  // While an input method composes a word (Japanese, Chinese, …), Enter accepts the word.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing) running?.abort();
});
stopButton.addEventListener("click", () => running?.abort());
at("fresh").addEventListener("click", () => {
  running?.abort();
  running = null;
  showRunning(false);
  turns = [];
  messages.replaceChildren();
  welcome.hidden = false;
  drawGauges(new Answer(), null);
  question.focus();
});
for (const example of document.querySelectorAll(".examples button")) {
  example.addEventListener("click", () => {
    if (!running) ask(example.textContent);
    stopButton.focus();
  });
}
at("settings").open = roomy.matches;
if (matchMedia("(pointer: fine)").matches) question.focus();
