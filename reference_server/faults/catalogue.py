"""All faults of an answer, as entries of FAULTS. docs/reference/faults.md has the same table.

In the truth log, a token counts as sent when it was handed to the fault, whatever the fault did with it.
"""

import asyncio
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamgauge.reference_server import parsing
from streamgauge.reference_server.faults.faulty_connection import ID, Action, FaultyConnection
from streamgauge.reference_server.model.answer import ModelFailed

_MOST_HELD = 1 << 20  # bytes that a fault holds back for one client
_GARBAGE = {"sse": b"data: {\xff\xfe\n\n", "ndjson": b"{\xff\xfe\n"}
_LONGEST_BLOCK = 10_000_000_000  # ns
_PARTS = ("nothing", "stream", "generation")  # of an answer
_MULTIBYTE = re.compile(rb"[\xc0-\xff]")
_TERMINAL = re.compile(
    rb"^(?:id:.*\n)?(?:"
    rb'data: \[DONE\]|data: \{"(?:done":true|type":"RUN_FINISHED").*'
    rb"|event: (?:message_stop|response\.(?:completed|incomplete))\ndata: .*"
    rb'|data: \{"candidates":.*"finishReason":.*)\n\n|^\{"model":.*"done":true.*\n',
    re.MULTILINE,
)

# Gets the connection of one answer and the fault's parsed argument, and changes what goes out there. The action that it
# returns, if any, is done after the number of tokens that was asked for.
Apply = Callable[[FaultyConnection, Any], Action | None]


@dataclass(frozen=True, slots=True)
class Argument:
    name: str  # in the documentation
    parse: Callable[[str], Any]  # raises ValueError
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    description: str  # for the documentation: a sentence without its full stop
    apply: Apply
    argument: Argument | None = None
    placed: bool = False  # happens after a number of tokens
    status: int = 0  # of the response, if the fault is an HTTP status: then no answer begins
    of_sse: bool = False  # has no effect on a dialect whose events are lines of JSON


# How the faults are made


def _status(status: int) -> Fault:
    text = f"The answer is HTTP {status}, with the dialect's error document, and `retry-after` if DURATION is given"
    return Fault(text, lambda *_: None, Argument("DURATION", parsing.duration, needed=False), status=status)


def _slow_headers(connection: FaultyConnection, argument: Any) -> None:
    connection.headers_wait = argument


def _stall(_: FaultyConnection, argument: Any) -> Action:
    async def action(wait: int) -> int:
        return wait + int(argument)

    return action


def _block(_: FaultyConnection, argument: Any) -> Action:
    async def action(wait: int) -> int:
        time.sleep(argument / 1e9)  # blocks the event loop: that is the fault
        return wait

    return action


def _instead(happen: Callable[[FaultyConnection], Any]) -> Apply:
    """Call `happen` when the next token is due, instead of sending it. The client has all tokens before it by then."""

    def apply(connection: FaultyConnection, _: Any) -> Action:
        async def action(wait: int) -> int:
            await asyncio.sleep(wait / 1e9)
            happen(connection)
            await asyncio.sleep(0)  # lets the stream learn that its client has left
            return 0

        return action

    return apply


def _error(connection: FaultyConnection) -> None:  # noqa: ARG001 - the stream makes the event, as for any error of the model
    raise ModelFailed(529, "the fault error was asked for")


def _silence(connection: FaultyConnection, _: Any) -> Action:
    async def action(wait: int) -> int:  # noqa: ARG001 - it never ends
        connection.silent = True
        await asyncio.Event().wait()
        raise AssertionError

    return action


def _changing(change: Callable[[FaultyConnection, bytes], bytes]) -> Apply:
    """Change the next event that goes out; if several go out in one write, the last of them."""

    def apply(connection: FaultyConnection, _: Any) -> Action:
        async def action(wait: int) -> int:
            connection.changes.append(lambda event: change(connection, event))
            return wait

        return action

    return apply


def _half(connection: FaultyConnection, event: bytes) -> bytes:
    connection.cut_after_this()
    return event[: len(event) // 2]


def _half_character(connection: FaultyConnection, event: bytes) -> bytes:
    connection.cut_after_this()
    found = _MULTIBYTE.search(event)
    return event[: found.end()] if found else event[: len(event) // 2] + "é".encode()[:1]


def _announced(apply: Apply) -> Apply:
    """Announce `connection: close` in the response's head, so that no client uses the connection again."""

    def both(connection: FaultyConnection, argument: Any) -> Action | None:
        connection.headers.append((b"connection", b"close"))
        return apply(connection, argument)

    return both


def _rewriting(rewrite: Callable[[bytes], bytes]) -> Apply:
    return lambda connection, *_: connection.rewrites.append(lambda events, _: rewrite(events))


def _commented(events: bytes) -> bytes:
    return b": between events\n\n" + re.sub(rb"(?m)^(?=data:)", b": within one\n", events) if events else b""


def _bom(connection: FaultyConnection, _: Any) -> None:
    marks = [b"\xef\xbb\xbf"]
    connection.rewrites.append(lambda events, _: marks.pop() + events if events and marks else events)


def _gzip(connection: FaultyConnection, _: Any) -> None:
    packer = zlib.compressobj(wbits=31)

    def rewrite(events: bytes, last: bool) -> bytes:
        if not events and not last:
            return b""
        return packer.compress(events) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    connection.headers.append((b"content-encoding", b"gzip"))
    connection.rewrites.append(rewrite)


def _batch(connection: FaultyConnection, argument: Any) -> None:
    held: list[bytes] = []

    def rewrite(events: bytes, last: bool) -> bytes:
        held.append(events)
        together = b"".join(held)
        if not last and together.count(connection.separator) < argument and len(together) < _MOST_HELD:
            return b""
        held.clear()
        return together

    connection.rewrites.append(rewrite)


def _buffer(connection: FaultyConnection, argument: Any) -> None:
    held = bytearray()

    def rewrite(events: bytes, last: bool) -> bytes:
        held.extend(events)
        full = len(held) if last else len(held) // argument * argument
        out = bytes(held[:full])
        del held[:full]
        return out

    connection.rewrites.append(rewrite)


def _buffer_time(connection: FaultyConnection, argument: Any) -> None:
    held = bytearray()
    timers: list[asyncio.TimerHandle] = []

    def taken() -> bytes:
        out = bytes(held)
        held.clear()
        while timers:
            timers.pop().cancel()
        return out

    def flush() -> None:
        if not connection.silent and not connection.lost:
            connection.real.write(taken())

    def rewrite(events: bytes, last: bool) -> bytes:
        held.extend(events)
        if last or len(held) > _MOST_HELD:
            return taken()
        if held and not timers:
            timers.append(asyncio.get_running_loop().call_later(argument / 1e9, flush))
        return b""

    connection.rewrites.append(rewrite)


def _deaf(connection: FaultyConnection, _: Any) -> None:
    connection.ignores_disconnect = True


def _half_cancel(connection: FaultyConnection, argument: Any) -> None:
    connection.cancels = argument


def _part(text: str) -> str:
    if text not in _PARTS:
        raise ValueError(f"{text!r} is nothing that a cancel may stop alone; there are {', '.join(_PARTS)}")
    return text


def _blocking(text: str) -> int:
    nanoseconds = parsing.duration(text)
    if nanoseconds > _LONGEST_BLOCK:
        raise ValueError(f"{text!r} is too long: at most 10s, because it stops all streams")
    return nanoseconds


_DURATION = Argument("DURATION", parsing.duration)

# If an answer gets several faults, they are applied in this order.
FAULTS: dict[str, Fault] = {
    **{f"http_{status}": _status(status) for status in (400, 401, 403, 404, 413, 429, 500, 503, 504, 529)},
    "slow_headers": Fault(
        "The response's head comes only after DURATION; tokens that were due until then come with it",
        _slow_headers,
        _DURATION,
    ),
    "stall": Fault(
        "Nothing is generated for DURATION: all later tokens are delayed by it, and keep-alive comments continue",
        _stall,
        _DURATION,
        placed=True,
    ),
    "block": Fault(
        "The server's event loop is blocked for DURATION, at most 10s: that stops all streams, not only this one",
        _block,
        Argument("DURATION", _blocking),
        placed=True,
    ),
    "error": Fault("An error event in the stream, then a proper end of the response", _instead(_error), placed=True),
    "cut": Fault(
        "The response ends cleanly, but without a terminal event, as if the answer were complete",
        _announced(_instead(FaultyConnection.cut)),
        placed=True,
    ),
    "close": Fault(
        "The connection is closed in the middle of the response, as by a proxy that restarts",
        _instead(FaultyConnection.close),
        placed=True,
    ),
    "reset": Fault("The connection is reset (RST)", _instead(FaultyConnection.reset), placed=True),
    "silence": Fault(
        "Nothing more is sent, not even a comment, and the connection stays open until the client leaves",
        _silence,
        placed=True,
    ),
    "cut_event": Fault("The response ends in the middle of the next event", _announced(_changing(_half)), placed=True),
    "cut_character": Fault(
        "The response ends in the middle of the next event, between the bytes of one character",
        _announced(_changing(_half_character)),
        placed=True,
    ),
    "garbage": Fault(
        "An event that is neither UTF-8 nor JSON comes before the next event",
        _changing(lambda connection, event: _GARBAGE[connection.framing] + event),
        placed=True,
    ),
    "repeat": Fault(
        "The next event is sent twice, with its id if it has one", _changing(lambda _, event: event * 2), placed=True
    ),
    "lose": Fault("The next event is never sent", _changing(lambda *_: b""), placed=True),
    "duplicate_id": Fault(
        "The next event has the id of the event before it; no effect if events have no ids",
        _changing(lambda connection, event: ID.sub(lambda _: connection.last_id, event)),
        placed=True,
    ),
    "lost_id": Fault(
        "The next event has no id; no effect if events have no ids",
        _changing(lambda _, event: ID.sub(b"", event)),
        placed=True,
    ),
    "no_terminator": Fault(
        "The end is left out: `message_stop`, `response.completed`, `[DONE]`, `done`, `finishReason`, `RUN_FINISHED`",
        _rewriting(lambda events: _TERMINAL.sub(b"", events)),
    ),
    "batch": Fault(
        "Events are held back and go out in writes of EVENTS",
        _batch,
        Argument("EVENTS", parsing.whole_number(1, 1_000)),
    ),
    "comments": Fault("A comment before each event, and one inside it", _rewriting(_commented), of_sse=True),
    "crlf": Fault("Lines end with CR LF", _rewriting(lambda events: events.replace(b"\n", b"\r\n"))),
    "cr": Fault("Lines end with CR", _rewriting(lambda events: events.replace(b"\n", b"\r")), of_sse=True),
    "bom": Fault("The stream begins with a byte order mark", _bom, of_sse=True),
    "gzip": Fault("The stream is compressed, whatever the client accepts, and flushed at each event", _gzip),
    "buffer": Fault(
        "Bytes are held back and go out in writes of BYTES, as behind a proxy that fills a buffer",
        _buffer,
        Argument("BYTES", parsing.whole_number(1, _MOST_HELD)),
    ),
    "buffer_time": Fault(
        "Bytes are held back and go out DURATION after the first of them, as behind a proxy that flushes on a timer",
        _buffer_time,
        _DURATION,
    ),
    "deaf": Fault("The generation continues after the client has left", _deaf),
    "half_cancel": Fault(
        "A cancel by the answer's id is accepted, and stops WHAT: `nothing`, the `stream` alone or the `generation` "
        "alone; no effect on an answer that can be resumed",
        _half_cancel,
        Argument("WHAT", _part),
    ),
}


def table() -> str:
    """FAULTS as the table in docs/reference/faults.md."""
    rows = [f"| `{syntax(name, fault)}` | {fault.description} |" for name, fault in FAULTS.items()]
    return "\n".join(["| fault | what happens |", "|---|---|", *rows]) + "\n"


def syntax(name: str, fault: Fault) -> str:
    argument = "" if fault.argument is None else f":{fault.argument.name}"
    written = argument if fault.argument is None or fault.argument.needed else f"[{argument}]"
    return f"{name}{written}{'[@K]' if fault.placed else ''}"
