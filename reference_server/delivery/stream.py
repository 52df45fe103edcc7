"""One stream on its way from the model to its sink: each token at its due time, and only while there is room.

A `Stream` takes steps from a source, has its dialect write them as events, and hands these to a `Sink`. It holds one
step and at most one unfinished word or sentence. When the sink is full because the client reads slowly, nothing more is
generated until there is room. When it is ended, at most one more token is generated. It knows neither HTTP nor sockets.
Times are CLOCK_MONOTONIC, in ns.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, Literal, Protocol

from streamgauge.reference_server.delivery.flushing import Flusher
from streamgauge.reference_server.delivery.settings import NEVER, DeliverySettings
from streamgauge.reference_server.delivery.sink import NullSink, Sink
from streamgauge.reference_server.delivery.timer_wheel import TimerWheel, call_after
from streamgauge.reference_server.delivery.whole import WholeWriter
from streamgauge.reference_server.dialects.question import Writer
from streamgauge.reference_server.model.answer import AnswerEnd, ModelFailed, Source
from streamgauge.reference_server.model.steps import NO_TOKENS, Step
from streamgauge.reference_server.truth import Outcome

State = Literal["queued", "running", "paused"] | Outcome  # paused: until the client reads
Cancels = Literal["all", "nothing", "stream", "generation"]

KEEP_ALIVE = b": keep-alive\n\n"


class Owner(Protocol):
    """The owner of a stream: gives it the timer wheel and the slowdown, and is notified of its end."""

    @property
    def wheel(self) -> TimerWheel: ...

    @property
    def slowdown(self) -> float:
        """The factor by which waits grow."""

    def ended(self, stream: "Stream", outcome: Outcome) -> None: ...


class Stream:
    """One answer. Its owner opens and begins it. It ends by itself, or by `cancel`, `fail` or `disconnected`.

    It ends once. Calls after the end do nothing.
    """

    # A thousand streams push each other's data out of the processor's cache; slots keep an object in fewer cache lines.
    __slots__ = (
        "_alarm", "_due", "_flusher", "_idle", "_left_at", "_made", "_over", "_owner", "_paused_at",
        "_pull", "_settings", "_source", "_step", "_steps", "_write", "_writer", "_wrote_at", "background", "cancels",
        "client", "detail", "due", "ended_at", "generated", "id", "ignores_disconnect", "over", "paused", "pauses",
        "received_at", "sent", "sink", "started_at", "state", "status", "streamed", "thinking", "wasted",
    )  # fmt: skip

    def __init__(self, id: str, source: Source, writer: Writer, settings: DeliverySettings, owner: Owner) -> None:
        self.id = id
        self.client: str | None = None  # the client's own name for this stream
        self.streamed = not isinstance(writer, WholeWriter)
        self.sink: Sink = NullSink()
        self.state: State = "queued"
        self.over = False
        self.ignores_disconnect = False  # continues to generate after the client has left: the fault `deaf`
        self.background = False  # was asked for in the background
        self.cancels: Cancels = "all"  # what a cancel stops: less than all is the fault `half_cancel`
        self.generated = 0  # tokens
        self.thinking = 0  # of the generated tokens
        self.wasted = 0  # tokens that were generated after the client had left
        self.sent = array("q")  # when each token was handed to the sink
        self.received_at = self.started_at = self.ended_at = 0  # started_at: when its generation began, after any queue
        self.due: int | None = None  # when the first token was due, once that is known
        self.pauses = 0
        self.paused = 0  # ns; length of the pauses that are over
        self.status, self.detail = 200, ""  # of the error that ended it
        self._source = source
        self._steps = source.steps if isinstance(source.steps, Iterator) else None
        self._writer, self._write = writer, writer.write
        self._flusher = None if settings.flush == "token" else Flusher(settings.flush)
        self._settings = settings
        self._owner = owner
        self._step: Step | None = None  # the next, if it is known
        self._due = 0  # when the next step is due; if that is not known, when the last one was
        self._made = b""  # events that `tick` made and `send` has not sent yet
        self._wrote_at = 0  # when anything was last written
        self._paused_at = 0  # 0: it is not paused
        self._left_at: int | None = None  # tokens sent when the client left, if generation continues without it
        self._alarm: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._pull: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] | None = None

    @property
    def written(self) -> int:
        """Tokens whose events have been handed to the sink, or are in the call that hands them over."""
        return self.generated - (self._flusher.tokens if self._flusher else 0)

    async def wait(self) -> None:
        """Return at the end."""
        if not self.over:
            self._over = asyncio.get_running_loop().create_future()
            await self._over

    # Called by the owner

    def open(self, sink: Sink, received_at: int) -> None:
        """Write the opening, and send keep-alive comments from now on."""
        self.sink, self.received_at, self._wrote_at = sink, received_at, received_at
        sink.write(self._writer.opening())
        self._set_alarm()

    def begin(self, at: int) -> None:
        """Start the generation: the first wait counts from `at`."""
        if self.over:
            return
        self.state, self.started_at, self._due = "running", at, at
        after = self._advance()
        if after:
            self.due = after
            self._owner.wheel.put(self, after)

    # Called by the timer wheel

    def tick(self, now: int) -> int:
        """Make the events of the next step, if it is due. See `timer_wheel.Due`."""
        if self._made:
            self.send()
        step = self._step
        if step is None or now < self._due or self._paused_at or self.over:
            return 0
        if self._flusher is None:
            self._made = self._write(step)
        else:
            self._made = b"".join(map(self._write, self._flusher.push(step)))
        if step.kind == "text":
            self.generated += 1
        else:
            self._count(step)
        return self._advance()

    def send(self) -> None:
        """Send the events that the last tick made."""
        events = self._made
        if not events:
            return
        self._made = b""
        self.sink.write(events)
        now = self._wrote_at = time.monotonic_ns()
        if self._flusher is None and self.generated - len(self.sent) == 1:
            self.sent.append(now)
        else:
            self._stamp(now)
        if self.sink.full and not self.over:
            self._pause(now)

    def _stamp(self, now: int) -> None:
        # This can be more than one token: plain SSE sends all tokens of a tool's input together in one event.
        self.sent.extend([now] * (self.written - len(self.sent)))

    def _count(self, step: Step) -> None:
        self.thinking += step.kind == "thinking"
        self.generated += step.kind not in NO_TOKENS

    def _advance(self) -> int:
        """Get the next step, and return when it is due; 0 if that is not known yet, or if there is no next step."""
        if self._steps is None:
            self._step = None
            self._pull = asyncio.get_running_loop().create_task(self._pulled())
            return 0
        found = next(self._steps, None)
        if found is None:
            self._close("completed", self._source.end(self.generated, self.thinking))
            return 0
        wait, self._step = found
        self._due = due = self._due + int(wait * self._owner.slowdown)
        return due

    async def _pulled(self) -> None:
        assert isinstance(self._source.steps, AsyncIterator)
        try:
            wait, step = await anext(self._source.steps)
        except StopAsyncIteration:
            self._close("completed", self._source.end(self.generated, self.thinking))
        except ModelFailed as fault:
            self.fail(fault.status, str(fault))
        except Exception as fault:  # noqa: BLE001 - any failure of the model is only this stream's error
            self.fail(500, f"the model failed: {fault}")
        else:
            self._step = step
            self._due = self._due + int(wait * self._owner.slowdown) if wait else time.monotonic_ns()
            if self.due is None:
                self.due = self._due
            if not self._paused_at:
                self._owner.wheel.put(self, self._due)

    def delay(self, ns: int) -> None:
        """Make all remaining steps due later by `ns`."""
        self._due += ns

    # Keep-alive comments and the deadline

    def _set_alarm(self) -> None:
        """Wake up when a comment or the deadline may be due. Moving this timer for each token would cost too much."""
        at = min(self._wrote_at + self._settings.keep_alive, self._ends_at)
        self._alarm = asyncio.get_running_loop().call_at(at / 1e9, self._on_alarm)

    def _on_alarm(self) -> None:
        now = time.monotonic_ns()
        if now >= self._ends_at:
            self.fail(504, f"the answer was not finished within {self._settings.deadline / 1e9:g} s")
            return
        if now >= self._wrote_at + self._settings.keep_alive:
            self._wrote_at = now
            if not self._paused_at:
                self.sink.write(KEEP_ALIVE)
        self._set_alarm()

    @property
    def _ends_at(self) -> int:
        return self.received_at + (self._settings.deadline or NEVER)

    # Back-pressure

    def _pause(self, now: int) -> None:
        self.state, self._paused_at = "paused", now
        self.pauses += 1
        if self._settings.idle:
            self._idle = call_after(self._settings.idle, self._stuck)

    def resume(self) -> None:
        """The sink has room again. A pause is no lateness of the server: it moves all later due times."""
        if self.over or not self._paused_at:
            return
        if self._idle is not None:
            self._idle.cancel()
        now = time.monotonic_ns()
        length = now - self._paused_at
        self.state, self._paused_at = "running", 0
        self.paused += length
        self.delay(length)
        self._wrote_at = now
        if self._step is not None:
            self._owner.wheel.put(self, self._due)

    def _stuck(self) -> None:
        self.fail(408, f"the client has read nothing for {self._settings.idle / 1e9:g} s")

    # Ends

    def cancel(self) -> None:
        """Stop generating. The client gets an ordinary end of the answer."""
        if self.over or self.cancels == "nothing":
            return
        end = replace(self._source.end(self.generated, self.thinking), stop_reason="cancelled")
        if self.cancels == "all":
            self._close("cancelled", end)
        elif self.cancels == "generation":
            self._end("cancelled")
        elif self._left_at is None:
            self._flush()
            self.sink.write(self._writer.closing(end))
            self._go_on_alone()
            self._let_go()

    def fail(self, status: int, detail: str, outcome: Outcome = "failed") -> None:
        """Send the client an error event, or cut it off if it does not read."""
        if self.over:
            return
        self.status, self.detail = status, detail
        if self.sink.full:
            self.sink.abort()
        else:
            self._flush()
            self.sink.write(self._writer.error(status, detail))
        self._end(outcome)

    def disconnected(self) -> None:
        """The client has left."""
        if self.over:
            self._let_go()
        elif self._left_at is None and self.ignores_disconnect:
            self._go_on_alone()
        elif self._left_at is None:
            self.wasted = self.generated - len(self.sent)
            self._end("disconnected")

    def _go_on_alone(self) -> None:
        """Generate on, for nobody."""
        self._left_at, self.sink = len(self.sent), NullSink()
        self.resume()

    def _close(self, outcome: Outcome, end: AnswerEnd) -> None:
        self._flush()
        self.sink.write(self._writer.closing(end))
        if self._left_at is not None:
            self.wasted = self.generated - self._left_at
            outcome = outcome if self.background else "disconnected"
        self._end(outcome)

    def _flush(self) -> None:
        """Send the events that are made and the tokens that are held back."""
        self.send()
        if self._flusher is not None and self._flusher.tokens:
            self.sink.write(b"".join(map(self._write, self._flusher.flush())))
            self._stamp(time.monotonic_ns())

    def _end(self, outcome: Outcome) -> None:
        if self.over:  # the last write found out that the client had left
            return
        self.over, self.state, self.ended_at = True, outcome, time.monotonic_ns()
        for timer in (self._alarm, self._idle):
            if timer is not None:
                timer.cancel()
        if self._pull is not None and self._pull is not asyncio.current_task():
            self._pull.cancel()
        if isinstance(self._source.steps, AsyncGenerator):
            self._pull = asyncio.get_running_loop().create_task(_closed(self._source.steps, self._pull))
        if outcome != "cancelled" or self.cancels != "generation":  # that fault leaves the client waiting
            self._let_go()
        self._owner.ended(self, outcome)

    def _let_go(self) -> None:
        """Nothing more will be written to the client."""
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


async def _closed(steps: AsyncGenerator[Any, None], pull: asyncio.Task[None] | None) -> None:
    """Let the source clean up, once no step is being fetched from it."""
    if pull is not None:
        await asyncio.wait([pull])
    await steps.aclose()
