"""A site for the browser with answers that a test scripts, byte for byte: real sockets, one thread per connection.

Static files and other GETs come from a dict. Each POST is answered by the next script, the rest by the last one.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import unquote

from streamgauge.reference_server.playground import HEADERS

PATIENCE = 120  # seconds until a test that hangs fails instead, also on a machine that is much slower than ours
STATIC = Path(__file__).parents[2] / "reference_server" / "static"
DONE = b"data: [DONE]\n\n"
_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Post:
    """One question as it came over the wire, and ways to answer it. An answer without `end` is cut off."""

    body: dict[str, Any]
    headers: dict[str, str]  # names in lower case
    connection: socket.socket
    told: SimpleQueue[str]

    def begin(self, status: str = "200 OK", **headers: str) -> None:
        named = {"content_type": "text/event-stream", "transfer_encoding": "chunked", "x_request_id": "req_1"} | headers
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items() if value]
        self.connection.sendall("\r\n".join([f"HTTP/1.1 {status}", "connection: close", *lines, "", ""]).encode())

    def send(self, *pieces: bytes) -> None:
        """Send each piece as one HTTP chunk in its own segment."""
        for piece in pieces:
            self.connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))

    def end(self) -> None:
        self.connection.sendall(b"0\r\n\r\n")

    def events(self, *pieces: bytes) -> None:
        """A whole answer of these pieces, properly ended."""
        self.begin()
        self.send(*pieces)
        self.end()

    def document(self, status: str, document: Any, **headers: str) -> None:
        """A JSON answer."""
        text = json.dumps(document)
        length = str(len(text.encode()))
        self.begin(status, content_type="application/json", transfer_encoding="", content_length=length, **headers)
        self.connection.sendall(text.encode())

    def cut_after(self, text: str) -> None:
        """Wait until the page reports (`GET /told?text`) that it has read this text. Then the connection is cut.

        Without the wait a browser would discard bytes that have arrived but have not been read.
        """
        while self.told.get(timeout=PATIENCE) != text:
            pass

    def until_gone(self) -> None:
        """Wait until the browser has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while self.connection.recv(65_536):
                pass


Script = Callable[[Post], None]


@dataclass
class Site:
    url: str
    files: dict[str, tuple[str, bytes]]  # path → content type and content; may be added to
    scripts: list[Script] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)  # in the order of arrival
    told: SimpleQueue[str] = field(default_factory=SimpleQueue)
    gone: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))  # released as each script ends
    faults: list[BaseException] = field(default_factory=list)

    def answers(self, *scripts: Script) -> None:
        """From now on the first POST is answered by the first script, and so on."""
        self.scripts, self.posts = [*scripts], []


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A browser may close connections at any time. `Site.faults` has what scripts raise."""


def _handler(served: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PATIENCE

        def do_GET(self) -> None:
            if self.path.startswith("/told?"):
                served.told.put(unquote(self.path.partition("?")[2]))
            kind, content = served.files.get(self.path, ("text/plain", b""))
            self.send_response(200 if self.path in served.files else 204)
            own = HEADERS if self.path == "/" or self.path.startswith("/static/") else {}
            for name, value in {**own, "content-type": kind, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            if self.path.startswith("/streams/"):
                served.told.put(self.path)
                self.send_response(204)
                self.end_headers()
                return
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            post = Post(body, headers, self.connection, served.told)
            served.posts.append(post)
            script = served.scripts[min(len(served.posts), len(served.scripts)) - 1]
            try:
                script(post)
            except ConnectionError:
                pass  # the browser has left
            except BaseException as fault:  # noqa: BLE001 - raised in the test when it leaves `site`
                served.faults.append(fault)
            finally:
                served.gone.release()
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """The playground's own files, with the headers that the reference server sends, and scripted answers."""
    files = {f"/static/{path.name}": (_TYPES[path.suffix], path.read_bytes()) for path in STATIC.iterdir()}
    files["/"] = files["/static/index.html"]
    served = Site("", files)
    server = _Server(("127.0.0.1", 0), _handler(served))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
    if served.faults:
        raise served.faults[0]
