/**
 * A conversation with a streaming endpoint as a React hook, on top of streaming.js. The app brings React: a bundler
 * finds it, or an import map does. It renders at most once a frame, however many tokens come in, and stops when its
 * component goes.
 */

import { useCallback, useEffect, useRef, useState } from "react";

import { Answer, streamChat } from "./streaming.js";

/**
 * Options: those of `streamChat` but `signal`; `body` without its messages.
 *
 * - `messages`: `{role, content}`; the assistant's also have `parts` (text, thinking and tools in order, see `Answer`).
 * - `status`: ready, waiting (for the first token), streaming or reconnecting.
 * - `error`: the StreamError that ended the last answer, or null. What had come of that answer stays.
 * - `ttft` (ms) and `tokensPerSecond` of the last answer: null until observed.
 * - `send(text)` asks, and stops an answer that is on its way; resolves when its own has ended, in whatever way.
 * - `stop()` leaves the answer as far as it has come.
 *
 * `send` and `stop` stay the same functions for the component's life.
 */
export function useStreamingChat({ url = "/chat/stream", body = {}, ...options } = {}) {
  const [shown, show] = useState({ messages: [], status: "ready", error: null, ttft: null, tokensPerSecond: null });
  const settings = useRef(null);
  settings.current = { url, body, ...options };
  const messages = useRef([]);
  const running = useRef(null); // the AbortController of the answer on its way

  const stop = useCallback(() => running.current?.abort(), []);
  useEffect(() => stop, [stop]);

  const send = useCallback(async (text) => {
    stop();
    const mine = new AbortController();
    running.current = mine;
    const before = [...messages.current, { role: "user", content: text }];
    const answer = new Answer();
    let status = "waiting";
    let error = null;
    let frame = null;

    const draw = () => {
      frame = null;
      if (running.current !== mine) return; // another question was asked meanwhile
      const parts = answer.parts.map((part) => ({ ...part }));
      messages.current = parts.length ? [...before, { role: "assistant", content: answer.text, parts }] : before;
      const { ttft, tokensPerSecond } = answer;
      show({ messages: messages.current, status, error, ttft, tokensPerSecond });
    };

    draw();
    try {
      const asked = before.map(({ role, content }) => ({ role, content }));
      const { body: rest, ...others } = settings.current;
      for await (const event of streamChat({ ...others, body: { ...rest, messages: asked }, signal: mine.signal })) {
        answer.take(event);
        if (event.type === "reconnecting") status = "reconnecting";
        else if (event.type !== "open") status = "streaming";
        frame ??= requestAnimationFrame(draw);
      }
    } catch (fault) {
      if (!mine.signal.aborted) error = fault;
    }
    if (frame !== null) cancelAnimationFrame(frame);
    status = "ready";
    draw();
  }, [stop]);

  return { ...shown, send, stop };
}
