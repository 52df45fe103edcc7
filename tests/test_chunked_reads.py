"""A read that is exactly one chunk passes by the HTTP parser: nothing may come out differently for it."""

from hypothesis import given
from hypothesis import strategies as st

from harness.drive.wire import Connection, Exchange

_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_TRICKY = st.text("5a\r\n;x0 ", min_size=1, max_size=20).map(str.encode)


@st.composite
def _chunks(draw: st.DrawFn) -> bytes:
    body = draw(_TRICKY)
    size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a", b'%x;a="b"', b"%x ", b"%x;"])) % len(body)
    return size + b"\r\n" + body + draw(st.sampled_from([b"\r\n"] * 9 + [b"\n"]))


class _ByTheParser(Exchange):
    __slots__ = ()

    def on_chunk_complete(self) -> None:
        """Nothing is ever known to be between chunks."""


def _taken(exchange: Exchange, reads: list[bytes]) -> tuple[object, ...]:
    said = []
    for read in reads:
        broken = exchange._take(read)
        said.append(None if broken is None else broken.detail)
        if broken or exchange.complete:
            break
    return bytes(exchange.body), list(exchange.ends), said, exchange.complete, exchange.keeps_alive


@given(st.lists(_chunks(), min_size=1, max_size=6), st.sampled_from([b"0\r\n\r\n", b""]), _TRICKY, st.data())
def test_what_a_read_holds_does_not_decide_what_it_says(
    chunks: list[bytes], end: bytes, surplus: bytes, data: st.DataObject
) -> None:
    whole = [_HEAD, *chunks, *filter(None, [end]), surplus]
    if data.draw(st.booleans()):
        answer = b"".join(whole)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=8)))
        whole = [answer[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    quick, thorough = (kind(Connection(), 1 << 20, b"zzz") for kind in (Exchange, _ByTheParser))
    assert _taken(quick, whole) == _taken(thorough, whole)
