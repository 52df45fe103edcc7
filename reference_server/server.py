"""`Settings` → a running server: what is made once, where it listens, how it starts and how it ends."""

import contextlib
import gc
import ipaddress
import logging
import resource
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from streamgauge.reference_server.app import create_app
from streamgauge.reference_server.delivery import incoming
from streamgauge.reference_server.delivery.connection import Connection
from streamgauge.reference_server.delivery.incoming import Incoming
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.delivery.timer_wheel import event_loop
from streamgauge.reference_server.door import Admission
from streamgauge.reference_server.sessions.registry import Sessions
from streamgauge.reference_server.sessions.shared import SharedLogs
from streamgauge.reference_server.settings import Settings, UpstreamSettings
from streamgauge.reference_server.truth import TruthLog

if TYPE_CHECKING:
    from streamgauge.reference_server.upstream.anthropic import Upstream

_GOODBYE_SECONDS = 1  # for clients to read the error event that ends their stream at the shutdown
_COLLECT_FROM = 5_000  # objects more than at the last garbage collection
_BACKLOG = 4096  # connections that may wait in the kernel
# Connections accepted in one turn of the event loop. uvicorn's own 2048 would delay every token for that long.
_ACCEPTED_AT_ONCE = 8
_OTHER_CONNECTIONS = 1_000  # that carry no stream
_OTHER_FILES = 64  # open at a time, besides connections


class CannotStart(Exception):
    """One sentence for the user."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then exit with 0. Raises CannotStart."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn restores these handlers after its shutdown and raises the signal again, which then ends the process.
        signal.signal(number, lambda *_: sys.exit(0))
    truth = _truth_log(settings)
    listener = _listen(settings)
    if not settings.api_key and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        warning = f"{settings.host} can be reached from other machines, and no --api-key is required"
        sys.stderr.write(f"streamgauge serve: {warning}\n")
    streams = Streams(settings.model.capacity, truth)
    sessions = Sessions(streams)
    if settings.redis_url is not None:
        sessions.shared = _shared_logs(settings.redis_url, sessions)
    admission = Admission(streams, settings.max_streams, settings.max_tokens)
    upstream = None if settings.upstream is None else _upstream(settings.upstream)
    all_incoming = Incoming(_most_connections(settings.max_streams))
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are one for each wrong request
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a client that has gone
    config = uvicorn.Config(
        create_app(settings, sessions, admission, upstream),
        loop=f"{event_loop.__module__}:{event_loop.__qualname__}",
        http=partial(Connection, streams.wheel, all_incoming),  # type: ignore[arg-type]  # called as a class is, and no more
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=incoming.SECONDS,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
        backlog=_ACCEPTED_AT_ONCE,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    _load(config)
    _Server(config, sessions, admission, all_incoming, settings.drain).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Prints its URL once it listens, drains before it shuts down, and collects garbage only when idle.

    While it drains it still accepts connections: clients should get a refusal and not a closed port.
    """

    def __init__(
        self, config: uvicorn.Config, sessions: Sessions, admission: Admission, incoming: Incoming, drain: float
    ) -> None:
        super().__init__(config)
        self._incoming = incoming
        self._sessions = sessions
        self._admission = admission
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._sessions.shared is not None:
            await self._sessions.shared.start()
        await super().startup(sockets)
        assert sockets is not None
        sockets[0].listen(_BACKLOG)
        gc.collect()
        gc.freeze()  # what the start-up made stays, so no later collection has to visit it
        # A collection of the young objects of a thousand streams would stop all of them for 10 ms and more. A request
        # makes no reference cycles, so collection can wait until no stream is active: see `on_tick`.
        gc.set_threshold(300_000, 100, 100)
        print(f"streamgauge reference server: {_url(sockets[0], tls=self.config.is_ssl)}", flush=True)  # noqa: T201

    async def on_tick(self, counter: int) -> bool:
        self._incoming.close_late()
        if not self._sessions.streams.active and gc.get_count()[0] > _COLLECT_FROM:
            gc.collect()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._admission.drain(self._drain)
        await super().shutdown(sockets)
        if self._sessions.shared is not None:
            await self._sessions.shared.stop()


def _most_connections(streams: int) -> int:
    """How many connections are accepted: some more than streams, if the process may have so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + _OTHER_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted - _OTHER_FILES if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft) - _OTHER_FILES)


def _truth_log(settings: Settings) -> TruthLog:
    try:
        return TruthLog(settings.truth)
    except OSError as fault:
        raise CannotStart(f"--truth {settings.truth}: cannot be written: {fault.strerror}") from None


def _listen(settings: Settings) -> socket.socket:
    """A bound socket."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.share_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if settings.send_buffer:
            # Accepted connections inherit it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer)
        listener.bind(address)
    except OSError as fault:
        raise CannotStart(f"cannot listen on {host} port {port}: {fault.strerror}") from None
    return listener


def _shared_logs(url: str, sessions: Sessions) -> SharedLogs:
    try:
        from streamgauge.reference_server.sessions import redis_logs  # noqa: PLC0415 - an extra that few servers need
    except ModuleNotFoundError:
        raise CannotStart("--redis-url needs the redis package: pip install 'streamgauge[redis]'") from None
    try:
        redis_logs.check(url)
    except ValueError as fault:
        raise CannotStart(f"--redis-url: {fault}") from None
    return redis_logs.RedisLogs(url, sessions)


def _upstream(settings: UpstreamSettings) -> "Upstream":
    from streamgauge.reference_server.upstream.anthropic import (  # noqa: PLC0415 - the SDK is slow to import
        Upstream,
    )

    return Upstream(settings.api_key, settings.url, settings.model, settings.silence)


def _load(config: uvicorn.Config) -> None:
    try:
        config.load()
    except OSError as fault:  # ssl.SSLError is one
        files = f"{config.ssl_certfile}, {config.ssl_keyfile}"
        raise CannotStart(f"--tls-cert, --tls-key: {files}: {fault.strerror or fault}") from None


def _url(listener: socket.socket, *, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
