"""Passes a browser's connections on to a server, and holds back the early end of a stream until the test allows it.

A connection that breaks loses what the browser has received and its page has not read yet. A connection that ends
without a stream on it was kept for another request, and the browser hears of its end: it would send the request there.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

from tests.browser.scripted_site import PATIENCE

_END = b"0\r\n\r\n"  # of an answer in HTTP's chunked coding
_AT_ONCE = struct.pack("ii", 1, 0)  # for SO_LINGER: closing resets the connection


@dataclass(frozen=True)
class Relay:
    url: str
    may_end: threading.Event  # cleared: connections with half a stream stay open until it is set


class _Server(ThreadingTCPServer):
    daemon_threads = True


def _handler(address: tuple[str, int], may_end: threading.Event) -> type[BaseRequestHandler]:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(address) as there:
                asking = threading.Thread(target=_ask, args=(self.request, there), daemon=True)
                asking.start()
                if _answer(there, self.request):
                    may_end.wait(PATIENCE)
                with contextlib.suppress(OSError):  # the page has left
                    self.request.shutdown(socket.SHUT_RD)
                asking.join()  # a connection that a thread reads from does not close
                self.request.close()

    return Handler


def _ask(page: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := page.recv(65_536):
            there.sendall(data)
        there.shutdown(socket.SHUT_RDWR)  # the page has left


def _answer(there: socket.socket, page: socket.socket) -> bool:
    """Until the server ends the connection; whether it did so in the middle of a stream."""
    half = False
    try:
        while data := there.recv(65_536):
            if data.startswith(b"HTTP/"):
                half = b"text/event-stream" in data
            half = half and not data.endswith(_END)
            page.sendall(data)
    except ConnectionError:
        page.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    return half


@contextlib.contextmanager
def relay(url: str) -> Iterator[Relay]:
    """For the server at this URL. Connections may end at first."""
    there = urlsplit(url)
    may_end = threading.Event()
    may_end.set()
    server = _Server(("127.0.0.1", 0), _handler((there.hostname or "", there.port or 80), may_end))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield Relay(f"http://127.0.0.1:{server.server_address[1]}", may_end)
    finally:
        server.shutdown()
        server.server_close()
