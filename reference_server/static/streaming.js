/**
 * A client for streamed answers in a browser: sends one POST and yields the events of its answer, across split
 * characters, proxies and dropped connections. No DOM, no framework, no build step: an ES module for any page.
 *
 * A question is sent once. After a dropped connection an answer is resumed only if its events have ids, because only then
 * can the server know what is missing. Any other failure is a StreamError, and what came before it stays.
 */

const LONGEST_WAIT = 30_000; // ms between two attempts, even if the server's `retry` or `retry-after` says more
const LONGEST_EVENT = 1 << 20; // characters; a line without an end must not fill the memory

/** Why an answer did not arrive, or not completely. `message` is one sentence for a person. */
export class StreamError extends Error {
  /**
   * `kind`: unreachable (no response at all), refused (an HTTP status), server (an error inside the stream), dropped (the
   * stream ended without its terminal event), malformed. `status`, `requestId` and `retryAfter` (seconds) are null if
   * unknown.
   */
  constructor(kind, message, { status = null, retryAfter = null, requestId = null } = {}) {
    super(message);
    this.name = "StreamError";
    Object.assign(this, { kind, status, retryAfter, requestId });
  }
}

/**
 * Decodes bytes, cut anywhere, into server-sent events. The time is linear in the number of bytes.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventDecoder {
  lastEventId = ""; // of the last complete event, after which a new connection continues
  retry = null; // ms to wait before a new connection; null until the server sends it
  #text = new TextDecoder(); // drops a leading BOM, and holds the first bytes of a character until the rest arrives
  #afterCR = false; // the text so far ended in CR: an LF that follows belongs to it
  #line = ""; // the line whose end has not arrived
  #data = [];
  #size = 0; // of #data, in characters
  #type = "";
  #id = "";
  #own = null; // the id of the incomplete event, if it has one of its own

  /**
   * The events that these bytes complete: `{type, data, id}`; the id is null if the event itself has none.
   * An event that the end of the body cuts off is dropped.
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
    const name = colon < 0 ? line : line.slice(0, colon); // "" if the line is a comment
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
 * Ask for an answer and yield its events, in order:
 *
 *     {type: "open", requestId, streaming, resumed}       the server has begun to answer; streaming: false: as one document
 *     {type: "text" | "thinking", text, at}               at: performance.now() at the read that brought it
 *     {type: "tool_start", id, name, input, at}           the server runs a tool …
 *     {type: "tool_end", id, name, result, failed, seconds, at}
 *     {type: "usage", usage, at}                          tokens and the stop reason, as the server reports them
 *     {type: "reconnecting", attempt, wait, reason}       dropped; will ask for the rest in `wait` ms
 *
 * Returns when the answer is complete. Throws a StreamError if it fails, and the signal's reason if `signal` stops it.
 * Leaving the loop early closes the connection, too.
 *
 * `body` is the request's JSON document. The answer is asked for as one document if the body has `stream: false`, if the
 * browser cannot read a body piece by piece, or if a proxy answers with something other than events.
 * `retries`: how many times in a row to reconnect without getting anything new. `silence`: ms without a byte, keep-alive
 * comments included, after which a connection counts as dropped. `cancelUrl(requestId)`: where to POST when the user
 * stops, because a server that keeps answers for dropped clients cannot see that this one will not come back.
 */
export async function* streamChat({ url, body, headers = {}, signal, retries = 5, silence = 45_000, cancelUrl }) {
  const ask = { url, body: { ...body, stream: true }, headers, signal };
  if (body.stream === false || !canStream()) {
    yield* inOnePiece(ask);
    return;
  }
  // How far the answer has been read, and how long to wait before asking for the rest.
  const place = { id: "", retry: 1_000, requestId: null, complete: false };
  try {
    yield* withReconnects(ask, place, retries, silence);
  } finally {
    if (!place.complete && place.requestId && cancelUrl) {
      fetch(cancelUrl(place.requestId), { method: "POST", headers, keepalive: true }).catch(() => {});
    }
  }
}

/** One answer as it grows: `take` each event of `streamChat`, and read the fields when you draw. */
export class Answer {
  parts = []; // in their order: {kind: "text" | "thinking", text} or {kind: "tool", id, name, input, result, failed, seconds}
  requestId = null;
  usage = null; // as the server reports it; null until then
  streaming = true; // false: it came as one document
  ttft = null; // ms from the request to the first text or thinking
  gaps = []; // ms between pieces, the last 240; pieces that came in one read have no gap between them
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

  /** The text without thinking and tools, as the next question sends it back. */
  get text() {
    return this.parts.map((part) => (part.kind === "text" ? part.text : "")).join("");
  }

  /** The server's count once it has reported one; until then one token for each piece. */
  get tokens() {
    return this.usage?.output_tokens ?? this.#pieces;
  }

  /** Between the first piece and the last. Null until there are two, and for an answer that came as one document. */
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

async function* withReconnects(ask, place, retries, silence) {
  for (let attempt = 0, from = ""; ; ) {
    let fault;
    try {
      yield* oneConnection(ask, place, silence, from);
      place.complete = true;
      return;
    } catch (caught) {
      ask.signal?.throwIfAborted();
      if (!(caught instanceof StreamError) || !place.id || !isTemporary(caught)) throw caught;
      fault = caught;
    }
    attempt = place.id === from ? attempt + 1 : 1;
    from = place.id;
    if (attempt > retries) {
      throw new StreamError("dropped", `${fault.message} ${retries} attempts to reconnect did not help.`, fault);
    }
    // Exponential backoff with jitter: clients that were dropped at the same time must not return at the same time.
    const backoff = place.retry * 2 ** (attempt - 1) * (1 + Math.random() / 2);
    const wait = Math.min(Math.max(backoff, (fault.retryAfter ?? 0) * 1000), LONGEST_WAIT);
    yield { type: "reconnecting", attempt, wait, reason: fault.message };
    await pause(wait, ask.signal);
  }
}

async function* oneConnection(ask, place, silence, from) {
  // Its own controller: leaving the loop in any way closes the connection, so that the server stops generating.
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
        yield* wholeAnswer(response);
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
      if (event.id && isKnown(event.id, place.id)) continue; // the server may repeat events
      if (event.id) place.id = event.id;
      const decodedMeaning = meaning(event);
      if (decodedMeaning === END) return;
      if (decodedMeaning) yield { ...decodedMeaning, at };
    }
    if (!isKnown(decoder.lastEventId, place.id)) place.id = decoder.lastEventId || place.id; // the id of an event without data
  }
}

const END = Symbol("the answer is complete");

/** The meaning of an event of plain SSE; null for unknown events. Throws the error of an error event. */
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

/** Whether `id` is not after `last`, and both are ids of the same stream. */
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
  yield* wholeAnswer(await post(whole, ask.signal, null, {}));
}

async function* wholeAnswer(response) {
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
  const message = sentence(`The server refused (${response.status})`, json(await response.text().catch(() => "")));
  throw new StreamError("refused", message, {
    status: response.status,
    retryAfter: retryAfter(response),
    requestId: requestId(response),
  });
}

/** Replaces the browser's own message for a broken connection, which differs by browser and explains nothing. */
function lost(fault) {
  throw fault instanceof TypeError ? new StreamError("dropped", "The connection was lost.") : fault;
}

/** `promise`, or a drop if it takes longer than `ms`; null: no limit. */
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

/** Whether the same request can succeed a little later. */
function isTemporary({ kind, status }) {
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

/** `beginning: message of the error document.`, or only the beginning if the document has no message. */
function sentence(beginning, document) {
  const message = document?.error?.message;
  if (typeof message !== "string" || !message) return `${beginning}.`;
  return `${beginning}: ${message.slice(0, 300).replace(/[.\s]+$/, "")}.`;
}

/** Seconds from `retry-after`, which can be a number or a date; null without it. */
function retryAfter(response) {
  const text = response.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

/** In the form of a header value: one character for each byte. */
function utf8(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

function requestId(response) {
  return response.headers.get("x-request-id") ?? response.headers.get("request-id");
}
