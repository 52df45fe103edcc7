"""One stream on its way from the model to its outlet: each token at its due time, and no further than there is room.

A `Stream` takes steps from a source, has its dialect write them, and hands the bytes to an `Outlet`. It holds one step
and, at most, one unfinished word or sentence: when the outlet is full, because the client reads slowly, nothing more is
generated until there is room. It ends within one token of being told to. Knows neither HTTP nor sockets; times are
CLOCK_MONOTONIC, ns.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from streamgauge.reference_server import model
from streamgauge.reference_server.dialects import End, Writer
from streamgauge.reference_server.flushing import Flusher, Unit
from streamgauge.reference_server.model import NO_TOKENS, Failed, Step
from streamgauge.reference_server.ticker import Ticker
from streamgauge.reference_server.truth import Outcome

State = Literal["queued", "running", "paused"] | Outcome  # paused: until the client has read some

KEEP_ALIVE = b": keep-alive\n\n"
_NEVER = 1 << 62
_SHORTEST_SILENCE = 10_000_000  # ns


class Outlet(Protocol):
    """Where a stream's events go."""

    full: bool  # take no more for now; `Stream.resume` will be called

    def write(self, events: bytes) -> None:
        """Take these events. Never blocks and never raises: what became of the other side is told to the stream."""

    def abort(self) -> None:
        """The other side does not take what it is given: cut it off."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the model does, step by step, each with the wait before it (ns).

    An asynchronous source is asked for a step when the one before has been written, so it feels a slow client, too; a
    wait of 0 from it means: now, when the step has come. What it raises ends the stream with an error event: a
    `model.Failed` with its own status, all else with 500.
    """

    steps: Iterator[tuple[int, Step]] | AsyncIterator[tuple[int, Step]]
    end: Callable[[int, int], End]  # of so many tokens, of which so many were thinking; asked at the end


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is delivered. Times in ns."""

    flush: Unit = "token"
    keep_alive: int = 15_000_000_000  # of silence, until a comment is sent
    deadline: int = 600_000_000_000  # for the whole answer; 0: none
    idle: int = 60_000_000_000  # for a client that reads nothing while it is sent something; 0: none
    resumable: int = 0  # how long the generation and its log wait for a reader; 0: it ends with its client


def unit(text: str) -> str:
    if text not in {"token", "word", "sentence"}:
        raise ValueError(f"{text!r} does not do: write token, word or sentence")
    return text


def silence(text: str) -> int:
    nanoseconds = model.duration(text)
    if nanoseconds < _SHORTEST_SILENCE:
        raise ValueError(f"{text!r} is too short: at least 10ms, or comments are all that is sent")
    return nanoseconds


# Every setting of a Manner, with how it is read from text: the options and the request headers both go by this.
SETTINGS: dict[str, Callable[[str], Any]] = {
    "flush": unit,
    "keep-alive": silence,
    "deadline": model.duration,
    "idle": model.duration,
    "resumable": model.duration,
}


class Carried(Protocol):
    """What a connection carries, and tells of its client: a stream, or one of those who read its log."""

    deaf: bool  # to the client's leaving

    async def wait(self) -> None:
        """Until nothing more will be written to the outlet."""

    def resume(self) -> None:
        """There is room again."""

    def disconnected(self) -> None: ...

    def fail(self, status: int, detail: str, outcome: Outcome = "failed") -> None: ...


class Keeper(Protocol):
    """Who keeps the stream's account: is told of its end, and says how busy the machine is."""

    @property
    def ticker(self) -> Ticker: ...

    @property
    def stretch(self) -> float:
        """What waits are multiplied by."""

    def ended(self, stream: "Stream", outcome: Outcome) -> None: ...


class Stream:
    """One answer. Opened and begun by its keeper; ends by itself, or by `cancel`, `fail` or `disconnected`.

    An end happens once; what is called after it does nothing.
    """

    # One attribute is one look into memory that a thousand other streams have just pushed out of the processor's cache.
    __slots__ = (
        "_alarm", "_due", "_flusher", "_idle", "_keeper", "_left_at", "_made", "_manner", "_over", "_paused_at",
        "_pull", "_source", "_step", "_steps", "_write", "_writer", "_wrote_at", "client", "deaf", "detail", "due",
        "ended_at", "generated", "id", "outlet", "over", "paused", "pauses", "received_at", "sent", "started_at",
        "state", "status", "streamed", "thinking", "wasted",
    )  # fmt: skip

    def __init__(self, id: str, source: Source, writer: Writer, manner: Manner, keeper: Keeper) -> None:
        self.id = id
        self.client: str | None = None  # what its client calls it
        self.streamed = not isinstance(writer, Document)
        self.outlet: Outlet = Nowhere()
        self.state: State = "queued"
        self.over = False
        self.deaf = False  # to the client's leaving: goes on generating, for nobody
        self.generated = 0  # tokens
        self.thinking = 0  # of these
        self.wasted = 0  # of these: for a client that had gone
        self.sent = array("q")  # when each token was handed to the outlet
        self.received_at = self.started_at = self.ended_at = 0  # started: it was its turn
        self.due: int | None = None  # of the first token, once that is known
        self.pauses = 0
        self.paused = 0  # ns, of the pauses that are over
        self.status, self.detail = 200, ""  # of the error that ended it
        self._source = source
        self._steps = source.steps if isinstance(source.steps, Iterator) else None
        self._writer, self._write = writer, writer.write
        self._flusher = None if manner.flush == "token" else Flusher(manner.flush)
        self._manner = manner
        self._keeper = keeper
        self._step: Step | None = None  # the next, where it is known
        self._due = 0  # when it is; where it is not known, when the one before was
        self._made = b""  # events that a tick has made, until `send`
        self._wrote_at = 0  # anything, at last
        self._paused_at = 0  # 0: it is not
        self._left_at: int | None = None  # tokens generated until the client had gone, where that is no end
        self._alarm: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._pull: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] | None = None

    @property
    def written(self) -> int:
        """Tokens whose events have been handed to the outlet, or are being so."""
        return self.generated - (self._flusher.tokens if self._flusher else 0)

    async def wait(self) -> None:
        """Until the end."""
        if not self.over:
            self._over = asyncio.get_running_loop().create_future()
            await self._over

    # What its keeper does

    def open(self, outlet: Outlet, received_at: int) -> None:
        """From now on it keeps its client company."""
        self.outlet, self.received_at, self._wrote_at = outlet, received_at, received_at
        outlet.write(self._writer.opening())
        self._set_alarm()

    def begin(self, at: int) -> None:
        """It is its turn: the first wait counts from `at`."""
        if self.over:
            return
        self.state, self.started_at, self._due = "running", at, at
        after = self._advance()
        if after:
            self.due = after
            self._keeper.ticker.put(self, after)

    # What its time brings

    def tick(self, now: int) -> int:
        """Make the next step's events, if it is due. See `ticker.Due`."""
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
        """Hand on what the last tick has made."""
        events = self._made
        if not events:
            return
        self._made = b""
        self.outlet.write(events)
        now = self._wrote_at = time.monotonic_ns()
        if self._flusher is None and self.generated - len(self.sent) == 1:
            self.sent.append(now)
        else:
            self._stamp(now)
        if self.outlet.full and not self.over:
            self._pause(now)

    def _stamp(self, now: int) -> None:
        # More than the last token: of a tool's input plain SSE says nothing until it tells the whole of it.
        self.sent.extend([now] * (self.written - len(self.sent)))

    def _count(self, step: Step) -> None:
        self.thinking += step.kind == "thinking"
        self.generated += step.kind not in NO_TOKENS

    def _advance(self) -> int:
        """Get the next step. When it is due; 0: that is not yet known, or there is none."""
        if self._steps is None:
            self._step = None
            self._pull = asyncio.get_running_loop().create_task(self._pulled())
            return 0
        found = next(self._steps, None)
        if found is None:
            self._close("completed", self._source.end(self.generated, self.thinking))
            return 0
        wait, self._step = found
        self._due = due = self._due + int(wait * self._keeper.stretch)
        return due

    async def _pulled(self) -> None:
        assert isinstance(self._source.steps, AsyncIterator)
        try:
            wait, step = await anext(self._source.steps)
        except StopAsyncIteration:
            self._close("completed", self._source.end(self.generated, self.thinking))
        except Failed as fault:
            self.fail(fault.status, str(fault))
        except Exception as fault:  # noqa: BLE001 - whatever it is, the client is told and the server goes on
            self.fail(500, f"the model failed: {fault}")
        else:
            self._step = step
            self._due = self._due + int(wait * self._keeper.stretch) if wait else time.monotonic_ns()
            if self.due is None:
                self.due = self._due
            if not self._paused_at:
                self._keeper.ticker.put(self, self._due)

    def delay(self, ns: int) -> None:
        """All that is still to come is due so much later."""
        self._due += ns

    # Silence, and the deadline

    def _set_alarm(self) -> None:
        """Look again when a comment may be due, or time be up. Once for many tokens: not each of them moves a timer."""
        at = min(self._wrote_at + self._manner.keep_alive, self._ends_at)
        self._alarm = asyncio.get_running_loop().call_at(at / 1e9, self._on_alarm)

    def _on_alarm(self) -> None:
        now = time.monotonic_ns()
        if now >= self._ends_at:
            self.fail(504, f"the answer was not finished within {self._manner.deadline / 1e9:g} s")
            return
        if now >= self._wrote_at + self._manner.keep_alive:
            self._wrote_at = now
            if not self._paused_at:
                self.outlet.write(KEEP_ALIVE)
        self._set_alarm()

    @property
    def _ends_at(self) -> int:
        return self.received_at + (self._manner.deadline or _NEVER)

    # Back-pressure

    def _pause(self, now: int) -> None:
        self.state, self._paused_at = "paused", now
        self.pauses += 1
        if self._manner.idle:
            self._idle = after(self._manner.idle, self._stuck)

    def resume(self) -> None:
        """There is room again. The pause was nobody's lateness: all that follows is due later by its length."""
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
            self._keeper.ticker.put(self, self._due)

    def _stuck(self) -> None:
        self.fail(408, f"the client has read nothing for {self._manner.idle / 1e9:g} s")

    # Ends

    def cancel(self) -> None:
        """Stop generating, and tell the client as at any other end."""
        if not self.over:
            self._close("cancelled", replace(self._source.end(self.generated, self.thinking), stop_reason="cancelled"))

    def fail(self, status: int, detail: str, outcome: Outcome = "failed") -> None:
        """Tell the client in the stream, or cut it off when it does not listen."""
        if self.over:
            return
        self.status, self.detail = status, detail
        if self.outlet.full:
            self.outlet.abort()
        else:
            self._flush()
            self.outlet.write(self._writer.error(status, detail))
        self._end(outcome)

    def disconnected(self) -> None:
        """The client has gone."""
        if self.over or self._left_at is not None:
            return
        if not self.deaf:
            self.wasted = self.generated - len(self.sent)
            self._end("disconnected")
            return
        self._left_at, self.outlet = len(self.sent), Nowhere()
        self.resume()

    def _close(self, outcome: Outcome, end: End) -> None:
        self._flush()
        self.outlet.write(self._writer.closing(end))
        if self._left_at is not None:
            self.wasted, outcome = self.generated - self._left_at, "disconnected"
        self._end(outcome)

    def _flush(self) -> None:
        """Send what is made, and what is held back."""
        self.send()
        if self._flusher is not None and self._flusher.tokens:
            self.outlet.write(b"".join(map(self._write, self._flusher.flush())))
            self._stamp(time.monotonic_ns())

    def _end(self, outcome: Outcome) -> None:
        if self.over:  # by what the last write brought to light
            return
        self.over, self.state, self.ended_at = True, outcome, time.monotonic_ns()
        for timer in (self._alarm, self._idle):
            if timer is not None:
                timer.cancel()
        if self._pull is not None and self._pull is not asyncio.current_task():
            self._pull.cancel()
        if isinstance(self._source.steps, AsyncGenerator):
            self._pull = asyncio.get_running_loop().create_task(_closed(self._source.steps, self._pull))
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
        self._keeper.ended(self, outcome)


async def _closed(steps: AsyncGenerator[Any, None], pull: asyncio.Task[None] | None) -> None:
    """Let the source clean up once nobody is in it any more."""
    if pull is not None:
        await asyncio.wait([pull])
    await steps.aclose()


def after(ns: int, call: Callable[[], None]) -> asyncio.TimerHandle:
    """Call it when so much time has gone by."""
    return asyncio.get_running_loop().call_later(ns / 1e9, call)


class Nowhere:
    """The outlet of a stream whose client has gone."""

    full = False

    def write(self, events: bytes) -> None:
        pass

    def abort(self) -> None:
        pass


class Document:
    """Writes an answer that is not streamed: nothing, until its end."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._write = writer, writer.write
        self._steps: list[Step] = []

    def opening(self) -> bytes:
        return b""

    def write(self, step: Step) -> bytes:
        self._steps.append(step)
        return b""

    def closing(self, end: End) -> bytes:
        return self._writer.whole(self._steps, end)

    def error(self, status: int, message: str) -> bytes:  # noqa: ARG002 - such an error is a response of its own
        return b""

    def whole(self, steps: Iterable[Step], end: End) -> bytes:
        return self._writer.whole(steps, end)
