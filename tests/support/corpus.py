"""The corpus: streams of other people's servers, each in a file of its own, with the reading that we expect of it.

A file of `tests/corpus` begins with a TOML table, which ends with a line `+++`; everything after that line is the body,
byte for byte. The table says how the body travels (`sent`) and how it must be read (`reading`):

    about, kinds           what the stream is, and the kinds of trouble that it is an example of
    target                 as in streamgauge.toml
    leaves_after           the person leaves after this many content chunks
    although               why an outcome is right although the official SDK reads the stream otherwise
    sent.status, .headers  of the response; `version` is 1.1 or 1.0
    sent.framing           chunked (a chunk for each event) · length · close · raw (the body has the head, too)
    sent.unfinished        bytes that the framing promises and that never come
    sent.encoding          gzip · gzip members (one for each event) · gzip whole (not flushed) · deflate ·
                           raw deflate (without zlib's header) · br
    sent.cut               the body is sent in pieces of so many bytes, and not event by event
    sent.then              close · silence · reset
    httpx, anthropic       what reads differently with this client, since its library does
    reading.text, .thinking, .tool    content chunks of these kinds; .characters of all of them
    reading.outcome, .detail (words in it), .stop_reason, .…_tokens, .oddities
"""

import re
import tomllib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import msgspec

from streamgauge.harness.config.checks import faults
from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.schema import Config, Target
from streamgauge.harness.drive.protocols import for_target

FOLDER = Path(__file__).parents[1] / "corpus"
_EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r|\Z)", re.DOTALL)
_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")


@dataclass(frozen=True)
class Stream:
    name: str
    table: dict[str, Any] = field(repr=False)
    body: bytes = field(repr=False)

    @cached_property
    def target(self) -> Target:
        target = msgspec.convert(self.table["target"], Target, dec_hook=decode)
        assert list(faults(Config(target=target))) == []
        return target

    @property
    def sent(self) -> dict[str, Any]:
        found: dict[str, Any] = self.table.get("sent", {})
        return found

    @property
    def reading(self) -> dict[str, Any]:
        found: dict[str, Any] = self.table["reading"]
        return found

    @property
    def framing(self) -> str:
        return str(self.sent.get("framing", "chunked"))

    @property
    def headers(self) -> dict[str, str]:
        given = {"content-type": "text/event-stream", **self.sent.get("headers", {})}
        return {name: value for name, value in given.items() if value}

    @property
    def status(self) -> int:
        return int(self.sent.get("status", "200 OK").split()[0])

    def parts(self) -> list[bytes]:
        """The body in the pieces in which it is sent."""
        if cut := self.sent.get("cut"):
            return [self.body[at : at + cut] for at in range(0, len(self.body), cut)]
        lines = for_target(self.target).framing != "sse"
        return [part for part in (_LINE if lines else _EVENT).findall(self.body) if part]

    def wire(self) -> list[bytes]:
        """What the server writes, piece by piece."""
        if self.framing == "raw":
            return self.parts()
        parts = [*filter(None, _encoded(self.parts(), self.sent.get("encoding", "")))]
        head = [f"HTTP/{self.sent.get('version', '1.1')} {self.sent.get('status', '200 OK')}"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        lacking = self.sent.get("unfinished", 0)
        if self.framing == "chunked":
            head.append("transfer-encoding: chunked")
            parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
            parts.append(b"" if lacking else b"0\r\n\r\n")
        elif self.framing == "length":
            head.append(f"content-length: {sum(map(len, parts)) + lacking}")
        return ["\r\n".join([*head, "", ""]).encode(), *filter(None, parts)]


@cache
def streams() -> list[Stream]:
    """All streams of the corpus, by name."""
    return [_read(path) for path in sorted(FOLDER.rglob("*.stream"))]


def _read(path: Path) -> Stream:
    table, _, body = path.read_bytes().partition(b"\n+++\n")
    return Stream(path.relative_to(FOLDER).with_suffix("").as_posix(), tomllib.loads(table.decode()), body)


def _encoded(parts: list[bytes], encoding: str) -> Iterator[bytes]:
    if encoding == "br":
        compressor = brotli.Compressor(quality=4)
        yield from (compressor.process(part) + compressor.flush() for part in parts)
        yield compressor.finish()
    elif encoding:
        bits = {"deflate": 15, "raw deflate": -15}.get(encoding, 31)
        whole, members = encoding == "gzip whole", encoding == "gzip members"
        deflater = zlib.compressobj(wbits=bits)
        for number, part in enumerate(parts, 1):
            data = deflater.compress(part)
            if members or number == len(parts):
                data += deflater.flush()
                deflater = zlib.compressobj(wbits=bits)
            elif not whole:
                data += deflater.flush(zlib.Z_SYNC_FLUSH)
            yield data
    else:
        yield from parts
