/**
 * A conversation with a streaming endpoint as a React hook, on top of streaming.js. The app provides React, through a
 * bundler or an import map. The hook renders at most once per frame, however many tokens arrive, and stops when its
 * component unmounts.
 */

import { useCallback, useEffect, useRef, useState } from "react";

import { Answer, streamChat } from "./streaming.js";

/**
 * Options: those of `streamChat` except `signal`; `body` without its messages.
 *
 * - `messages`: `{role, content}`; the assistant's also have `parts` (text, thinking and tools in their order, see `Answer`).
 * - `status`: ready, waiting (for the first token), streaming or reconnecting.
 * - `error`: the StreamError that ended the last answer, or null. What had arrived of that answer stays.
 * - `ttft` (ms) and `tokensPerSecond` of the last answer: null until observed.
 * - `send(text)` asks a question and stops an answer that is still streaming. It resolves when its answer has ended,
 *   also if it failed.
 * - `stop()` ends the answer and keeps what has arrived.
 *
 * `send` and `stop` are the same functions for the component's lifetime.
 */
export function useStreamingChat({ url = "/chat/stream", body = {}, ...options } = {}) {
  const [shown, show] = useState({ messages: [], status: "ready", error: null, ttft: null, tokensPerSecond: null });
  const settings = useRef(null);
  settings.current = { url, body, ...options };
  const messages = useRef([]);
  const running = useRef(null); // the AbortController of the answer that is streaming

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
