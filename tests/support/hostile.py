"""Servers that do as a test's script says, byte for byte, and what our client makes of them.

Real sockets, each connection in a native thread with blocking calls: pytest's process is not monkey-patched, and the
client under test runs in the main greenlet while its hub waits for the same sockets.
"""

import array
import contextlib
import fcntl
import socket
import ssl
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Limits, Target, Timeouts
from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, StreamObservation
from tests.support.command import PATIENCE

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSED = HEAD + b"connection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"
# Of a target, unless the test says so: its own five seconds for a connection can be too few on a busy machine.
_TIMEOUTS = dict.fromkeys(("connect", "first_token", "idle"), f"{PATIENCE}s")
_ESTABLISHED = b"\1"  # `tcpi_state` of Linux
_RECEIVED, _SENT, _SENT_AGAIN = 128, 200, 208  # see `_tcp`

IDENTITY = {
    "scenario": "hostile",
    "user": "Tester",
    "protocol": "plain_sse",
    "client": "wire",
    "network": "direct",
    "behaviour": "patient",
}


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def token(number: int) -> bytes:
    return b"data: token %d\n\n" % number


def tokens(count: int) -> bytes:
    return b"".join(map(token, range(count)))


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.sent: list[tuple[int, int]] = []  # CLOCK_MONOTONIC ns: before and after the sending of each piece
        self._left = b""

    def request(self) -> bytes:
        """The next request, whole; b"" when the client has gone."""
        data = self._left
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65_536)
            if not more:
                return b""
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = sum(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        while len(rest) < length:
            more = self.sock.recv(65_536)
            if not more:
                return b""
            rest += more
        self._left = rest[length:]
        return head + b"\r\n\r\n" + rest[:length]

    def path(self) -> str:
        """That of the next request. ConnectionError when the client has gone, perhaps without having asked anything."""
        request = self.request()
        if not request:
            raise ConnectionError("the client has gone")
        return request.split()[1].decode()

    def send(self, *pieces: bytes) -> None:
        """Each piece in a segment of its own (TCP_NODELAY)."""
        for piece in pieces:
            before = time.monotonic_ns()
            self.sock.sendall(piece)
            self.sent.append((before, time.monotonic_ns()))

    def until_read(self) -> None:
        """Wait until the client, of this process, has read all that was sent, or has gone.

        Then the next piece is a read of its own.

        Only on Linux, whose sockets tell how many bytes came and how many of them nobody has read.
        """
        give_up_at = time.monotonic() + PATIENCE
        while not _has_read(self.sock) and self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == _ESTABLISHED:
            assert time.monotonic() < give_up_at, "the client does not read"
            time.sleep(0.0005)

    def answer(self, body: bytes) -> None:
        """A whole chunked answer, after which the connection may serve again."""
        self.send(CHUNKED + chunk(body) + LAST)

    def until_gone(self) -> str:
        """Wait for the client to go: `fin` or `reset`."""
        try:
            while self.sock.recv(65_536):
                pass
        except ConnectionResetError:
            return "reset"
        return "fin"

    def fin(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _has_read(ours: Any) -> bool:
    """Whether the other end of this socket, which is in this process, has got and read all that was sent."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # no socket, or closed just now
            other = socket.socket(fileno=int(path.name))
            try:
                found = _read_all(other, ours)
            finally:
                other.detach()
            if found is not None:
                return found
    return False


def _read_all(other: socket.socket, ours: Any) -> bool | None:
    """None: it is not the other end of ours."""
    if other.getsockname() != ours.getpeername() or other.getpeername() != ours.getsockname():
        return None
    # In this order: what comes after the look at what is unread would count as read.
    return _tcp(other, _RECEIVED) == _tcp(ours, _SENT) - _tcp(ours, _SENT_AGAIN) and unread(other) == 0


def unread(file: Any) -> int:
    """How many bytes nobody has read yet of what came to a socket, or was written into a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(file, termios.FIONREAD, count)
    return count[0]


def _tcp(sock: Any, place: int) -> int:
    """A counter of bytes, by its place in Linux's `struct tcp_info`."""
    count: int = struct.unpack_from("Q", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 216), place)[0]
    return count


Script = Callable[[Peer], Any]


@dataclass
class Server:
    port: int
    scheme: str = "http"
    peers: list[Peer] = field(default_factory=list)
    first: "Future[Any]" = field(default_factory=Future)  # what the first connection's script returned or raised
    threads: list[threading.Thread] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def hang_up(self) -> None:
        """End all connections, and wait for their scripts."""
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(PATIENCE)

    def result(self) -> Any:
        """What the first connection's script returned, once it has."""
        return self.first.result(2 * PATIENCE)


@contextlib.contextmanager
def scripted(*scripts: Script, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server whose first connection goes by the first script, and so on; the last script serves all that follow.

    A connection closes when its script returns. What a script raises fails the test, but for the client's going.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(listener.getsockname()[1], "https" if tls else "http")

    def serve(peer: Peer, script: Script, told: "Future[Any]") -> None:
        try:
            if tls is not None:
                peer.sock = tls.wrap_socket(peer.sock, server_side=True, suppress_ragged_eofs=False)
            told.set_result(script(peer))
        except OSError as fault:  # the client has gone, or the test is over
            told.set_exception(fault.with_traceback(None))  # it holds this frame: a reference cycle
        except BaseException as fault:  # noqa: BLE001 - told to the test on leaving
            server.faults.append(fault)
            told.set_exception(fault)
        finally:
            peer.sock.close()

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock)
            number = len(server.peers)
            script, told = scripts[min(number, len(scripts) - 1)], Future() if number else server.first
            thread = threading.Thread(target=serve, args=(peer, script, told), daemon=True)
            server.peers.append(peer)
            server.threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which closing alone does not
        acceptor.join(PATIENCE)
        listener.close()
        server.hang_up()
    if server.faults:
        raise server.faults[0]


def asked(*pieces: bytes) -> Script:
    """The script that takes a request, sends these pieces and closes."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*pieces)

    return script


def held(*pieces: bytes) -> Script:
    """The script that takes a request, sends these pieces and then says nothing, for ever."""

    def script(peer: Peer) -> str:
        peer.request()
        peer.send(*pieces)
        return peer.until_gone()

    return script


def target(timeouts: dict[str, str] | None = None, limits: dict[str, int] | None = None, **settings: Any) -> Target:
    """A target of plain SSE; timeouts are written as in streamgauge.toml."""
    return Target(
        **{"protocol": "plain_sse", **settings},
        timeouts=Timeouts(**{name: Duration.parse(text) for name, text in {**_TIMEOUTS, **(timeouts or {})}.items()}),
        limits=Limits(**(limits or {})),
    )


def client(url: str, *, fresh: bool = False, clock: RunClock | None = None, **settings: Any) -> WireClient:
    """A person before their first stream; settings are those of `target`."""
    clock = clock or RunClock.starting_at(time.time_ns())
    return WireClient(Site.of(url, target(**settings), clock), fresh=fresh)


def ask(
    person: WireClient,
    plan: Plan | None = None,
    link: network.Network = network.NETWORKS["direct"],
    text: str = "Hello?",
) -> StreamObservation:
    """One stream, due now."""
    person.prepare()
    road = network.Link(link, 1)
    question = Question(prompts.ask(text), plan or Plan(), road, time.monotonic_ns(), IDENTITY)
    return person.stream(question).observation


def observe(url: str, plan: Plan | None = None, **settings: Any) -> StreamObservation:
    """One stream of a new client; settings are those of `target`."""
    person = client(url, **settings)
    try:
        return ask(person, plan)
    finally:
        person.close()


def stamped_true(seen: StreamObservation, clock: RunClock, sent: Sequence[tuple[int, int]]) -> list[bool]:
    """For each event, whether its arrival is when it was sent, by the server's stamps before and after.

    The kernel's stamp is made inside the sender's call; 5 µs: how well the offset of the two clocks is known, and the
    record's rounding; 5 ms: a kernel under load may leave the receiver's half for a moment later. A machine that is
    busy enough leaves it for longer, so a test that demands true stamps is one of `timing`.
    """
    for (before, after), each in zip(sent, seen.chunks, strict=True):  # pytest shows it of a test that fails
        print(f"{each.at - clock.from_monotonic(before)} ns after it began to send, took {after - before} ns")
    return [
        clock.from_monotonic(before) - 5_000 <= each.at <= clock.from_monotonic(after) + 5_000_000
        for (before, after), each in zip(sent, seen.chunks, strict=True)
    ]


def content(seen: StreamObservation) -> int:
    """How many content chunks the record keeps."""
    kept = sum(each.kind in CONTENT for each in seen.chunks)
    assert kept == seen.content_chunks
    return kept


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key; made by the `openssl` command."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(made), "-days", "2", "-subj", "/CN=streamgauge test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return made, key
