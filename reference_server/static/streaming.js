/**
 * A streamed answer in a browser: from one POST to the events of one answer, over split characters, proxies and
 * dropped connections. No DOM, no framework, nothing to build: an ES module that any page can import.
 *
 * What is asked is asked once. Only an answer whose events carry ids is taken up again after a drop, because only then
 * does the server know what is missing; everything else that goes wrong is a StreamError, and what came before it stays.
 */

const LONGEST_WAIT = 30_000; // ms between two attempts, whatever the server's `retry` or `retry-after` says
const LONGEST_EVENT = 1 << 20; // characters; a server that never ends its line must not fill the memory

/** Why an answer did not come, or not whole. `message` is one sentence for a person. */
export class StreamError extends Error {
  /**
   * `kind`: unreachable (no answer at all), refused (an HTTP status), server (an error inside the stream), dropped (it
   * ended before its end), malformed. `status`, `requestId` and `retryAfter` (seconds) are null where unknown.
   */
  constructor(kind, message, { status = null, retryAfter = null, requestId = null } = {}) {
    super(message);
    this.name = "StreamError";
    Object.assign(this, { kind, status, retryAfter, requestId });
  }
}

/**
 * Bytes → server-sent events, however the bytes were cut; linear in their number.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventDecoder {
  lastEventId = ""; // of the last event that was complete: where a new connection goes on
  retry = null; // ms to wait before one; null until the server says
  #text = new TextDecoder(); // drops a leading BOM, and keeps a character's first bytes until the rest is there
  #afterCR = false; // the text so far ended in CR: an LF now belongs to it
  #line = ""; // the line whose end has not come
  #data = [];
  #size = 0; // characters of #data
  #type = "";
  #id = "";
  #own = null; // the id that the event in the making has of its own

  /**
   * The events that these bytes complete: `{type, data, id}`, with the id null where the event itself has none.
   * An event that the end of the body cuts off never comes.
   */
  decode(bytes) {
    const text = this.#text.decode(bytes, { stream: true });
    const events = [];
    const lineEnd = /\r\n|\n|\r/g;
    let at = this.#afterCR && text[0] === "\n" ? 1 : 0;
    if (text) this.#afterCR = text.endsWith("\r");
    lineEnd.lastIndex = at;
    for (let end; (end = lineEnd.exec(text)); at = lineEnd.lastIndex) {
      const line = this.#line + text.slice(at, end.index);
      this.#line = "";
      if (line) this.#field(line);
      else this.#dispatch(events);
    }
    this.#line += text.slice(at);
    if (this.#size + this.#line.length > LONGEST_EVENT) {
      throw new StreamError("malformed", `The server sent an event of more than ${LONGEST_EVENT} characters.`);
    }
    return events;
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon); // "" where the line is a comment
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") {
      this.#data.push(value);
      this.#size += value.length + 1;
    } else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = this.#own = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  #dispatch(events) {
    this.lastEventId = this.#id;
    if (this.#data.length) events.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.#own });
    this.#data = [];
    this.#type = "";
    this.#own = null;
    this.#size = 0;
  }
}

/**
 * Ask for an answer, and yield what becomes of it, in order:
 *
 *     {type: "open", requestId, streaming, resumed}       the server has begun to answer; streaming: false: in one piece
 *     {type: "text" | "thinking", text, at}               at: performance.now() of the read that brought it
 *     {type: "tool_start", id, name, input, at}           a tool runs on the server …
 *     {type: "tool_end", id, name, result, failed, seconds, at}
 *     {type: "usage", usage, at}                          tokens and the stop reason, as the server counts them
 *     {type: "reconnecting", attempt, wait, reason}       dropped; asks for the rest in `wait` ms
 *
 * Returns when the answer is complete. Throws a StreamError when it will not be, and the signal's reason when `signal`
 * stops it; leaving the loop early closes the connection, too.
 *
 * `body` is the request's JSON document; with `stream: false` in it, or in a browser that cannot read a body piece by
 * piece, or behind a proxy that answers with something else than events, the answer is asked for in one piece.
 * `retries`: how often in a row to reconnect without getting anything new. `silence`: ms without a byte, keep-alive
 * comments included, after which a connection counts as dropped. `cancelUrl(requestId)`: where to POST that nobody will
 * come back for the rest; a server that keeps an answer for readers who were dropped cannot tell those who left.
 */
export async function* streamChat({ url, body, headers = {}, signal, retries = 5, silence = 45_000, cancelUrl }) {
  const ask = { url, body: { ...body, stream: true }, headers, signal };
  if (body.stream === false || !canStream()) {
    yield* inOnePiece(ask);
    return;
  }
  // Where the answer stands, and how long to wait before asking for the rest.
  const place = { id: "", retry: 1_000, requestId: null, complete: false };
  try {
    yield* overDrops(ask, place, retries, silence);
  } finally {
    if (!place.complete && place.requestId && cancelUrl) {
      fetch(cancelUrl(place.requestId), { method: "POST", headers, keepalive: true }).catch(() => {});
    }
  }
}

/** One answer as it grows: `take` each event of `streamChat`, read the fields whenever you draw. */
export class Answer {
  parts = []; // in order: {kind: "text" | "thinking", text} or {kind: "tool", id, name, input, result, failed, seconds}
  requestId = null;
  usage = null; // as the server counts; null until it says
  streaming = true; // false: it came in one piece
  ttft = null; // ms from asking to the first text or thinking
  gaps = []; // ms between pieces, the last 240; what came in one read has no gap, and none is invented
  #asked;
  #first = null;
  #last = null;
  #pieces = 0;

  constructor(asked = performance.now()) {
    this.#asked = asked;
  }

  take(event) {
    if (event.type === "open") {
      this.requestId = event.requestId;
      this.streaming = event.streaming;
    } else if (event.type === "text" || event.type === "thinking") {
      this.#time(event.at);
      const part = this.parts.at(-1);
      if (part?.kind === event.type) part.text += event.text;
      else this.parts.push({ kind: event.type, text: event.text });
    } else if (event.type === "tool_start") {
      const { id, name, input } = event;
      this.parts.push({ kind: "tool", id, name, input, result: null, failed: false, seconds: null });
    } else if (event.type === "tool_end") {
      const tool = this.parts.find((part) => part.kind === "tool" && part.id === event.id && part.seconds === null);
      if (tool) Object.assign(tool, { result: event.result, failed: event.failed, seconds: event.seconds });
    } else if (event.type === "usage") {
      this.usage = event.usage;
    }
  }

  /** The text alone, without thinking and tools: what the next question takes along. */
  get text() {
    return this.parts.map((part) => (part.kind === "text" ? part.text : "")).join("");
  }

  /** As the server counts once it has said so; until then one for each piece that came. */
  get tokens() {
    return this.usage?.output_tokens ?? this.#pieces;
  }

  /** Between the first piece and the last; null until there are two, and for an answer in one piece. */
  get tokensPerSecond() {
    const seconds = (this.#last - this.#first) / 1000;
    return this.streaming && this.tokens > 1 && seconds > 0 ? (this.tokens - 1) / seconds : null;
  }

  #time(at) {
    this.#pieces += 1;
    if (this.#first === null) {
      this.#first = at;
      this.ttft = at - this.#asked;
    } else if (at - this.#last >= 1) {
      this.gaps.push(at - this.#last);
      if (this.gaps.length > 240) this.gaps.shift();
    }
    this.#last = at;
  }
}

function canStream() {
  return typeof ReadableStream === "function" && typeof Response === "function" && "body" in Response.prototype;
}

async function* overDrops(ask, place, retries, silence) {
  for (let attempt = 0, from = ""; ; ) {
    let fault;
    try {
      yield* oneConnection(ask, place, silence, from);
      place.complete = true;
      return;
    } catch (caught) {
      ask.signal?.throwIfAborted();
      if (!(caught instanceof StreamError) || !place.id || !mayPass(caught)) throw caught;
      fault = caught;
    }
    attempt = place.id === from ? attempt + 1 : 1;
    from = place.id;
    if (attempt > retries) {
      throw new StreamError("dropped", `${fault.message} ${retries} attempts to reconnect did not help.`, fault);
    }
    // Twice as long each time, and never quite the same: clients that were dropped together do not return together.
    const backoff = place.retry * 2 ** (attempt - 1) * (1 + Math.random() / 2);
    const wait = Math.min(Math.max(backoff, (fault.retryAfter ?? 0) * 1000), LONGEST_WAIT);
    yield { type: "reconnecting", attempt, wait, reason: fault.message };
    await pause(wait, ask.signal);
  }
}

async function* oneConnection(ask, place, silence, from) {
  // Of its own, so that leaving in whatever way closes it, and the server stops generating.
  const connection = new AbortController();
  const stop = () => connection.abort();
  ask.signal?.addEventListener("abort", stop);
  try {
    ask.signal?.throwIfAborted();
    const response = await post(ask, connection.signal, silence, from ? { "last-event-id": utf8(from) } : {});
    const type = response.headers.get("content-type") ?? "";
    if (!type.startsWith("text/event-stream") || !response.body) {
      if (from) throw new StreamError("dropped", "The server no longer has the rest of this answer.");
      if (type.startsWith("application/json")) {
        yield* toldWhole(response);
      } else {
        connection.abort();
        yield* inOnePiece(ask);
      }
      return;
    }
    place.requestId ??= requestId(response);
    yield { type: "open", requestId: place.requestId, streaming: true, resumed: from !== "" };
    yield* events(response.body.getReader(), place, silence);
  } finally {
    ask.signal?.removeEventListener("abort", stop);
    connection.abort();
  }
}

async function* events(reader, place, silence) {
  const decoder = new EventDecoder();
  for (;;) {
    const { done, value } = await within(silence, reader.read()).catch(lost);
    if (done) throw new StreamError("dropped", "The answer broke off before its end.");
    const at = performance.now();
    const decoded = decoder.decode(value);
    if (decoder.retry !== null) place.retry = decoder.retry;
    for (const event of decoded) {
      if (event.id && isKnown(event.id, place.id)) continue; // a server may send again what we have
      if (event.id) place.id = event.id;
      const told = meaning(event);
      if (told === END) return;
      if (told) yield { ...told, at };
    }
    if (!isKnown(decoder.lastEventId, place.id)) place.id = decoder.lastEventId || place.id; // of an event without data
  }
}

const END = Symbol("the answer is complete");

/** What an event of the plain dialect says; null for what is not ours. Throws the error that it tells. */
function meaning({ type, data }) {
  if (type === "message" && data === "[DONE]") return END;
  if (type === "message" && !data.startsWith("{")) return { type: "text", text: data };
  if (type === "thinking") return { type, text: data };
  if (!["message", "tool_start", "tool_end", "error"].includes(type)) return null;
  const document = json(data);
  if (type === "error" || (type === "message" && document?.error)) {
    throw new StreamError("server", sentence("The server failed", document));
  }
  if (type === "message" && document?.done !== true) return { type: "text", text: data };
  if (document === null) throw new StreamError("malformed", "The server sent an event that is not valid JSON.");
  if (type !== "message") return { ...document, type };
  const { done: _, ...usage } = document;
  return { type: "usage", usage };
}

/** Whether `id` comes no later than `last`, both being ids of the same stream. */
function isKnown(id, last) {
  const [stream, number] = numbered(id) ?? [];
  const [before, reached] = numbered(last) ?? [];
  return stream !== undefined && stream === before && number <= reached;
}

/** `req_1:7` → `["req_1", 7]`; null for an id of another form. */
function numbered(id) {
  const [, stream, number] = /^(.*):(\d+)$/s.exec(id) ?? [];
  return stream === undefined ? null : [stream, Number(number)];
}

async function* inOnePiece(ask) {
  const whole = { ...ask, body: { ...ask.body, stream: false } };
  yield* toldWhole(await post(whole, ask.signal, null, {}));
}

async function* toldWhole(response) {
  const answer = json(await response.text().catch(lost));
  if (answer?.error) throw new StreamError("server", sentence("The server failed", answer));
  if (typeof answer?.text !== "string") throw new StreamError("malformed", "The server’s answer is not one of ours.");
  const { text, thinking, tools, ...usage } = answer;
  const at = performance.now();
  yield { type: "open", requestId: requestId(response), streaming: false, resumed: false };
  if (thinking) yield { type: "thinking", text: thinking, at };
  for (const { id, name, input, ...ran } of Array.isArray(tools) ? tools.filter(Boolean) : []) {
    yield { type: "tool_start", id, name, input, at };
    yield { type: "tool_end", id, name, ...ran, at };
  }
  yield { type: "text", text, at };
  yield { type: "usage", usage, at };
}

async function post({ url, body, headers }, signal, silence, more) {
  const request = new Request(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream, application/json", ...headers, ...more },
    body: JSON.stringify(body),
    cache: "no-store",
    signal,
  });
  let response;
  try {
    response = await within(silence, fetch(request));
  } catch (fault) {
    if (fault instanceof StreamError || signal?.aborted) throw fault;
    throw new StreamError("unreachable", "The server cannot be reached.");
  }
  if (response.ok) return response;
  const told = sentence(`The server refused (${response.status})`, json(await response.text().catch(() => "")));
  throw new StreamError("refused", told, {
    status: response.status,
    retryAfter: retryAfter(response),
    requestId: requestId(response),
  });
}

/** What a browser says of a broken connection differs by browser, and helps nobody. */
function lost(fault) {
  throw fault instanceof TypeError ? new StreamError("dropped", "The connection was lost.") : fault;
}

/** `promise`, or a drop after `ms` of waiting; null waits for ever. */
async function within(ms, promise) {
  let timer;
  const silent = new Promise((_, reject) => {
    if (ms === null) return;
    const fault = new StreamError("dropped", `The server was silent for ${Math.round(ms / 1000)} s.`);
    timer = setTimeout(reject, ms, fault);
  });
  try {
    return await Promise.race([promise, silent]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether the same request may do better a little later. */
function mayPass({ kind, status }) {
  return kind === "dropped" || kind === "unreachable" || (kind === "refused" && (status === 429 || status >= 500));
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    const stop = () => done(reject(signal.reason));
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    signal?.addEventListener("abort", stop);
  });
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** `beginning: what the error document says.` – or the beginning alone, where it says nothing. */
function sentence(beginning, document) {
  const said = document?.error?.message;
  if (typeof said !== "string" || !said) return `${beginning}.`;
  return `${beginning}: ${said.slice(0, 300).replace(/[.\s]+$/, "")}.`;
}

/** Seconds; null where the server does not say. It may say a number or a date. */
function retryAfter(response) {
  const text = response.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

/** As a header carries it: one character for each byte. */
function utf8(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

function requestId(response) {
  return response.headers.get("x-request-id") ?? response.headers.get("request-id");
}
