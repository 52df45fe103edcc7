"""What alerts are sent to, on loopback: an HTTP server and an SMTP server that keep what they get."""

import json
import socketserver
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.command import PATIENCE


@dataclass
class Got:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hangs: bool = False  # reads the request, and answers nothing


class Receiver:
    """`answers` are given in turn, and then `usual`."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: deque[Answer] = deque()
        self.usual = Answer()
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self.url = ""

    def wait_for(self, count: int) -> list[Got]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, PATIENCE), f"only {len(self.got)} came"
            return list(self.got)


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that was killed is no error of the test."""


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # its sender was killed
                self.close_connection = True
                return
            with receiver.changed:
                answer = receiver.answers.popleft() if receiver.answers else receiver.usual
                receiver.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                receiver.changed.notify_all()
            if answer.hangs:
                receiver.ended.wait(PATIENCE)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST  # noqa: N815 - as http.server calls it

        def log_message(self, *_: object) -> None:
            pass

    with _Quiet(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.ended.set()
            server.shutdown()
            thread.join()


class Mailbox:
    """`replies` replaces the reply to a command, such as `{"DATA": "451 later"}`; `rcpt` that to one address."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.replies: dict[str, str] = {}
        self.rcpt: dict[str, str] = {}
        self.port = 0


@contextmanager
def smtp_receiver() -> Iterator[Mailbox]:
    mailbox = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 test")
            while line := self.rfile.readline():
                words = line.decode().split()
                command = words[0].upper() if words else ""
                if command == "RCPT":
                    self.say(next((reply for address, reply in mailbox.rcpt.items() if address in words[1]), "250 ok"))
                elif command in mailbox.replies:
                    self.say(mailbox.replies[command])
                elif command == "DATA":
                    self.say("354 go on")
                    if (text := self.text()) is None:
                        return
                    mailbox.mails.append(message_from_bytes(text))
                    self.say("250 taken")
                elif command == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def text(self) -> bytes | None:
            """None if its sender has gone before its end."""
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                if not line:
                    return None
                lines.append(line)
            return b"".join(lines)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        mailbox.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join()
