"""Everything that can go wrong with an answer: one entry each in FAULTS, the table of docs/reference/faults.md.

The truth log goes on to tell what the server did: a token counts as sent when it was handed to the fault.
"""

import asyncio
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamgauge.reference_server import model
from streamgauge.reference_server.model import Failed
from streamgauge.reference_server.trouble import ID, Act, Trouble

_MOST_HELD = 1 << 20  # bytes that a fault keeps back for one client
_LONGEST_BLOCK = 10_000_000_000  # ns
_MULTIBYTE = re.compile(rb"[\xc0-\xff]")
_TERMINAL = re.compile(
    rb'^(?:id:.*\n)?(?:data: \[DONE\]|data: \{"done":true.*|event: message_stop\ndata: .*)\n\n', re.MULTILINE
)

# Given its argument as read, it changes what goes out; what it returns happens after the tokens that were asked for.
Apply = Callable[[Trouble, Any], Act | None]


@dataclass(frozen=True, slots=True)
class Argument:
    name: str  # as the documentation has it
    read: Callable[[str], Any]  # raises ValueError
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    does: str  # for the documentation: a sentence without its full stop
    apply: Apply
    argument: Argument | None = None
    placed: bool = False  # it happens after a number of tokens
    status: int = 0  # of the response, where that is all of it: no answer is begun


# What faults do


def _status(status: int) -> Fault:
    text = f"The answer is HTTP {status}, with the dialect's own document and, where DURATION is given, `retry-after`"
    return Fault(text, lambda *_: None, Argument("DURATION", model.duration, needed=False), status=status)


def _slow_headers(trouble: Trouble, argument: Any) -> None:
    trouble.headers_wait = argument


def _stall(_: Trouble, argument: Any) -> Act:
    async def act(wait: int) -> int:
        return wait + int(argument)

    return act


def _block(_: Trouble, argument: Any) -> Act:
    async def act(wait: int) -> int:
        time.sleep(argument / 1e9)  # everybody's stream stands still: that is the fault
        return wait

    return act


def _instead(happen: Callable[[Trouble], Any]) -> Apply:
    """When the next token is due, and in its place: by then the client has the ones before."""

    def apply(trouble: Trouble, _: Any) -> Act:
        async def act(wait: int) -> int:
            await asyncio.sleep(wait / 1e9)
            happen(trouble)
            await asyncio.sleep(0)  # by which time the stream knows that its client is gone
            return 0

        return act

    return apply


def _error(trouble: Trouble) -> None:  # noqa: ARG001 - the stream makes the event, as for any fault of the model
    raise Failed(529, "the fault error was asked for")


def _silence(trouble: Trouble, _: Any) -> Act:
    async def act(wait: int) -> int:  # noqa: ARG001 - it has no end
        trouble.silent = True
        await asyncio.Event().wait()
        raise AssertionError

    return act


def _treating(treat: Callable[[Trouble, bytes], bytes]) -> Apply:
    """The next event that goes out; of several in one write, the last."""

    def apply(trouble: Trouble, _: Any) -> Act:
        async def act(wait: int) -> int:
            trouble.treatments.append(lambda event: treat(trouble, event))
            return wait

        return act

    return apply


def _half(trouble: Trouble, event: bytes) -> bytes:
    trouble.cut_after_this()
    return event[: len(event) // 2]


def _half_character(trouble: Trouble, event: bytes) -> bytes:
    trouble.cut_after_this()
    found = _MULTIBYTE.search(event)
    return event[: found.end()] if found else event[: len(event) // 2] + "é".encode()[:1]


def _announced(apply: Apply) -> Apply:
    """The response says from the first that its connection will be closed, so that no client uses it again."""

    def both(trouble: Trouble, argument: Any) -> Act | None:
        trouble.headers.append((b"connection", b"close"))
        return apply(trouble, argument)

    return both


def _rewriting(rewrite: Callable[[bytes], bytes]) -> Apply:
    return lambda trouble, *_: trouble.rewrites.append(lambda events, _: rewrite(events))


def _commented(events: bytes) -> bytes:
    return b": between events\n\n" + re.sub(rb"(?m)^(?=data:)", b": within one\n", events) if events else b""


def _bom(trouble: Trouble, _: Any) -> None:
    marks = [b"\xef\xbb\xbf"]
    trouble.rewrites.append(lambda events, _: marks.pop() + events if events and marks else events)


def _gzip(trouble: Trouble, _: Any) -> None:
    packer = zlib.compressobj(wbits=31)

    def rewrite(events: bytes, last: bool) -> bytes:
        if not events and not last:
            return b""
        return packer.compress(events) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    trouble.headers.append((b"content-encoding", b"gzip"))
    trouble.rewrites.append(rewrite)


def _batch(trouble: Trouble, argument: Any) -> None:
    held: list[bytes] = []

    def rewrite(events: bytes, last: bool) -> bytes:
        held.append(events)
        together = b"".join(held)
        if not last and together.count(b"\n\n") < argument and len(together) < _MOST_HELD:
            return b""
        held.clear()
        return together

    trouble.rewrites.append(rewrite)


def _buffer(trouble: Trouble, argument: Any) -> None:
    held = bytearray()

    def rewrite(events: bytes, last: bool) -> bytes:
        held.extend(events)
        full = len(held) if last else len(held) // argument * argument
        out = bytes(held[:full])
        del held[:full]
        return out

    trouble.rewrites.append(rewrite)


def _buffer_time(trouble: Trouble, argument: Any) -> None:
    held = bytearray()
    timers: list[asyncio.TimerHandle] = []

    def taken() -> bytes:
        out = bytes(held)
        held.clear()
        while timers:
            timers.pop().cancel()
        return out

    def flush() -> None:
        if not trouble.silent and not trouble.lost:
            trouble.connection.write(taken())

    def rewrite(events: bytes, last: bool) -> bytes:
        held.extend(events)
        if last or len(held) > _MOST_HELD:
            return taken()
        if held and not timers:
            timers.append(asyncio.get_running_loop().call_later(argument / 1e9, flush))
        return b""

    trouble.rewrites.append(rewrite)


def _deaf(trouble: Trouble, _: Any) -> None:
    trouble.deaf = True


def counted(most: int) -> Callable[[str], int]:
    """A reader of whole numbers from 1 to `most`. It raises ValueError for anything else."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
            raise ValueError(f"{text!r} does not do: write a whole number from 1 to {most}")
        return int(text)

    return read


def _short(text: str) -> int:
    nanoseconds = model.duration(text)
    if nanoseconds > _LONGEST_BLOCK:
        raise ValueError(f"{text!r} is too long: at most 10s, for all streams stand still")
    return nanoseconds


_DURATION = Argument("DURATION", model.duration)

# Several faults of one answer are applied in this order.
FAULTS: dict[str, Fault] = {
    **{f"http_{status}": _status(status) for status in (400, 401, 403, 404, 413, 429, 500, 503, 504, 529)},
    "slow_headers": Fault(
        "The response's head comes only after so long; what was due meanwhile comes with it", _slow_headers, _DURATION
    ),
    "stall": Fault(
        "Nothing is generated for so long; keep-alive comments go on, and all that follows is later by as much",
        _stall,
        _DURATION,
        placed=True,
    ),
    "block": Fault(
        "The server's event loop stands still for so long, at most 10s: for all streams, not only for this one",
        _block,
        Argument("DURATION", _short),
        placed=True,
    ),
    "error": Fault("An error event in the stream, which ends properly", _instead(_error), placed=True),
    "cut": Fault(
        "The response ends as if that were all of it: no terminal event, a clean end",
        _announced(_instead(Trouble.cut)),
        placed=True,
    ),
    "close": Fault(
        "The connection is closed in the middle of the response, as by a proxy that was restarted",
        _instead(Trouble.close),
        placed=True,
    ),
    "reset": Fault("The connection is reset (RST)", _instead(Trouble.reset), placed=True),
    "silence": Fault(
        "Nothing more is sent, not even a comment, and the connection stays open until the client goes",
        _silence,
        placed=True,
    ),
    "cut_event": Fault("The response ends in the middle of the next event", _announced(_treating(_half)), placed=True),
    "cut_character": Fault(
        "The response ends in the middle of the next event, between the bytes of one character",
        _announced(_treating(_half_character)),
        placed=True,
    ),
    "garbage": Fault(
        "Before the next event comes one that is neither UTF-8 nor JSON",
        _treating(lambda _, event: b"data: {\xff\xfe\n\n" + event),
        placed=True,
    ),
    "repeat": Fault(
        "The next event is sent twice, with its id if it has one", _treating(lambda _, event: event * 2), placed=True
    ),
    "lose": Fault("The next event is never sent", _treating(lambda *_: b""), placed=True),
    "duplicate_id": Fault(
        "The next event has the id of the one before it; nothing, where events have none",
        _treating(lambda trouble, event: ID.sub(lambda _: trouble.last_id, event)),
        placed=True,
    ),
    "lost_id": Fault(
        "The next event has no id; nothing, where events have none",
        _treating(lambda _, event: ID.sub(b"", event)),
        placed=True,
    ),
    "no_terminator": Fault(
        "Everything but the terminal event: `message_stop`, `[DONE]`, and plain SSE's `done`",
        _rewriting(lambda events: _TERMINAL.sub(b"", events)),
    ),
    "batch": Fault("Events are held back and go out so many in one write", _batch, Argument("EVENTS", counted(1_000))),
    "comments": Fault("A comment before each event, and one inside it", _rewriting(_commented)),
    "crlf": Fault("Lines end with CR LF", _rewriting(lambda events: events.replace(b"\n", b"\r\n"))),
    "cr": Fault("Lines end with CR", _rewriting(lambda events: events.replace(b"\n", b"\r"))),
    "bom": Fault("The stream begins with a byte order mark", _bom),
    "gzip": Fault("The stream is compressed, whatever the client accepts, and flushed at each event", _gzip),
    "buffer": Fault(
        "As behind a proxy's buffer: bytes go out when so many are together",
        _buffer,
        Argument("BYTES", counted(_MOST_HELD)),
    ),
    "buffer_time": Fault(
        "As behind a proxy that flushes now and then: bytes go out so long after the first of them came",
        _buffer_time,
        _DURATION,
    ),
    "deaf": Fault("The generation goes on when the client has gone", _deaf),
}


def table() -> str:
    """FAULTS for docs/reference/faults.md."""
    rows = [f"| `{syntax(name, fault)}` | {fault.does} |" for name, fault in FAULTS.items()]
    return "\n".join(["| fault | what happens |", "|---|---|", *rows]) + "\n"


def syntax(name: str, fault: Fault) -> str:
    argument = "" if fault.argument is None else f":{fault.argument.name}"
    written = argument if fault.argument is None or fault.argument.needed else f"[{argument}]"
    return f"{name}{written}{'[@K]' if fault.placed else ''}"
