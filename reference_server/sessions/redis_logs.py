"""Resumable streams for several server processes: each log is also in Redis, written by one process and read by any.

    streamgauge:log:ID      what a subscriber needs before it reads the events (JSON, `_LogHeader`)
    streamgauge:events:ID   a Redis Stream: event n of the log has the id n-0; the entry with `end` ends the log
    streamgauge:writer:NAME exists as long as the process of that name lives
    streamgauge:asked       a channel that asks every process for what only one of them has

Events go to this process's own subscribers at once, and to Redis in batches right after that, so nobody waits for
Redis. While Redis does not answer, streams that are kept in it fail with an error event and new ones are refused.
Everything else continues.
"""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streamgauge.reference_server.delivery.settings import DeliverySettings
from streamgauge.reference_server.delivery.stream import KEEP_ALIVE
from streamgauge.reference_server.sessions.log import EventLog
from streamgauge.reference_server.sessions.registry import Sessions
from streamgauge.reference_server.sessions.session import Session
from streamgauge.reference_server.sessions.shared import Unreachable, Verb

_AWAY = "the Redis that keeps resumable answers does not work"
_SILENT = "another process of this server does not answer"
_ASKED = "streamgauge:asked"
_ANSWER_SECONDS = 2  # for Redis, or another process, to answer
_HEARTBEAT_SECONDS = 1
_LEASE_SECONDS = 5  # without a heartbeat; then a process counts as dead
_LOG_SECONDS = 60  # how long a running log stays without a heartbeat of its writer
_BATCH = 500  # commands, or entries, at a time
_QUIET_SECONDS = DeliverySettings().keep_alive / 1e9

_Entries = Any  # pairs of an id and its fields, all bytes; redis-py's own type covers every way of decoding
_FAULTS = (RedisError, OSError, TimeoutError)


class _LogHeader(msgspec.Struct):
    path: str
    lost: bytes
    idle: int
    grace: float  # seconds
    writer: str


class _Message(msgspec.Struct):
    verb: Verb | Literal["reached"]  # `reached` is not answered: it says how far a subscriber elsewhere has read
    id: str
    answer: str = ""  # name of the Redis list that the answer goes to
    number: int = 0  # with `reached`: the last event that the subscriber has


def check(url: str) -> None:
    """ValueError if there is no Redis at `url`, or none that can be used."""

    async def ping() -> None:
        async with _connect(url) as redis:
            await redis.ping()

    try:
        asyncio.run(ping())
    except _FAULTS as fault:
        raise ValueError(f"cannot be used: {fault}") from None


def _connect(url: str) -> "Redis":
    # No retries: if an entry was added and Redis's answer was lost, adding it again would fail.
    return Redis.from_url(url, socket_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0))


class _Mirror(EventLog):
    """The copy of a log that another process writes."""

    def __init__(self, id: str, header: _LogHeader) -> None:
        super().__init__(id, header.path, header.lost, header.idle)
        self.wanted_at = 0.0  # when a request last asked for it; it may subscribe soon

    def take(self, entries: _Entries) -> str:
        """Append these entries of the Redis Stream. Returns the id of the last one, after which to continue."""
        first, last = (int(entries[end][0].partition(b"-")[0]) for end in (0, -1))
        if self.last == 0:
            self.first, self.last = first, first - 1  # the oldest may have been dropped
        if first != self.last + 1 or last - first + 1 != len(entries):
            self.lose()
            return f"{last}-0"
        self.append([fields[b"event"] for _, fields in entries if b"event" in fields])
        if b"end" in entries[-1][1]:
            self.end()
        return f"{last}-0"


class RedisLogs:
    """The `SharedLogs` of one process. Started and stopped in its event loop."""

    def __init__(self, url: str, sessions: Sessions) -> None:
        self._redis = _connect(url)
        self._sessions = sessions
        self._name = secrets.token_hex(8)
        self._running: dict[str, Session] = {}  # sessions whose logs this process writes
        self._broken: list[str] = []  # ids of logs that can never be finished
        self._commands: list[tuple[Any, ...]] = []  # to be sent to Redis
        self._more = asyncio.Event()
        self._fault = ""
        self._mirrors: dict[str, _Mirror] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        listening = asyncio.Event()
        for work in (self._write, self._heartbeat, lambda: self._listen(listening)):
            self._spawn(self._forever(work))
        await listening.wait()

    async def stop(self) -> None:
        """Call it when no stream is active."""
        with contextlib.suppress(*_FAULTS):
            await self._flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    # The logs that this process writes

    def refusal(self) -> str | None:
        return self._fault or None

    def append(self, session: Session, first: int, events: Sequence[bytes]) -> None:
        if first == 1:
            self._running[session.id] = session
            log = session.log
            header = _LogHeader(log.path, log.lost, log.idle, session.grace / 1e9, self._name)
            self._put("SET", _log(session.id), msgspec.json.encode(header), "EX", _LOG_SECONDS)
        elif session.id not in self._running:
            return
        for number, event in enumerate(events, first):
            kept = number - session.log.first + 1  # as many as in memory
            self._put("XADD", _events(session.id), "MAXLEN", "~", kept, f"{number}-0", "event", event)

    def end(self, session: Session) -> None:
        if self._running.pop(session.id, None) is None:
            return
        self._put("XADD", _events(session.id), f"{session.log.last + 1}-0", "end", "")
        for key in (_log(session.id), _events(session.id)):
            self._put("PEXPIRE", key, max(1, session.grace // 1_000_000))

    def forget(self, session: Session) -> None:
        self._put("UNLINK", _log(session.id), _events(session.id))

    def _put(self, *command: Any) -> None:
        self._commands.append(command)
        self._more.set()

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            await self._flush()

    async def _flush(self) -> None:
        while self._commands:
            commands, self._commands = self._commands[:_BATCH], self._commands[_BATCH:]
            await self._send(commands)

    async def _send(self, commands: Sequence[tuple[Any, ...]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            await pipeline.execute()

    async def _heartbeat(self) -> None:
        while True:
            alive = [("SET", _writer(self._name), "", "EX", _LEASE_SECONDS)]
            kept = [("EXPIRE", key(id), _LOG_SECONDS) for id in self._running for key in (_log, _events)]
            broken = [("UNLINK", _log(id), _events(id)) for id in self._broken]
            await self._send([*alive, *kept, *broken])
            del self._broken[: len(broken)]
            self._fault = ""
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _failed(self, fault: BaseException) -> None:
        if not self._fault:
            # For the operator only: clients must not learn where the Redis is.
            sys.stderr.write(f"streamgauge serve: --redis-url: {fault or type(fault).__name__}\n")
        self._fault = _AWAY
        running, self._running = self._running, {}
        self._broken += running
        self._commands.clear()
        for session in running.values():
            session.stream.fail(503, self._fault)

    # The logs that other processes write

    async def find(self, id: str) -> EventLog | None:
        mirror = self._mirrors.get(id)
        if mirror is None:
            try:
                mirror = await self._mirrored(id)
            except _FAULTS:
                raise Unreachable(_AWAY) from None
        if mirror is not None:
            mirror.wanted_at = time.monotonic()
        return mirror

    async def _mirrored(self, id: str) -> _Mirror | None:
        """A new copy of a log, which follows the log from now on; None if there is no such log."""
        found = await self._redis.get(_log(id))
        if found is None and await self.ask("kept", id) is not None:
            # The process that keeps the log has answered, and before its answer it sent the log to Redis.
            found = await self._redis.get(_log(id))
        if found is None:
            return None
        header = msgspec.json.decode(found, type=_LogHeader)
        mirror = _Mirror(id, header)
        at = await self._load(mirror)
        if id in self._mirrors:  # another request was faster
            return self._mirrors[id]
        self._mirrors[id] = mirror
        self._spawn(self._follow(mirror, at, header))
        return mirror

    async def _load(self, mirror: _Mirror) -> str:
        """Append every entry that there is. Returns the id after which to continue."""
        at = "0-0"
        entries: _Entries
        while entries := await self._redis.xrange(_events(mirror.id), f"({at}", count=_BATCH):
            at = mirror.take(entries)
        return at

    async def _follow(self, mirror: _Mirror, at: str, header: _LogHeader) -> None:
        """Append the writer's new entries while the mirror has subscribers, and report to the writer what they have."""
        pause = min(_HEARTBEAT_SECONDS, header.grace / 3)
        reported, reported_at, changed_at = 0, 0.0, time.monotonic()
        try:
            while mirror.subscribers or time.monotonic() < mirror.wanted_at + _LEASE_SECONDS:
                now = time.monotonic()
                if now > reported_at + pause and (mirror.subscribers or mirror.reached > reported):
                    reported, reported_at = mirror.reached, now
                    await self._report(mirror)
                if mirror.over:
                    await asyncio.sleep(pause)
                elif entries := await self._next(mirror, at, pause):
                    at, changed_at = mirror.take(entries), now
                elif await self._redis.exists(_log(mirror.id), _writer(header.writer)) < 2:
                    mirror.lose()
                elif now > changed_at + _QUIET_SECONDS:
                    mirror.comment(KEEP_ALIVE)
                    changed_at = now
            if mirror.reached > reported:
                await self._report(mirror)
        except _FAULTS:
            mirror.lose()
        finally:
            del self._mirrors[mirror.id]

    async def _report(self, mirror: _Mirror) -> None:
        await self._publish(_Message("reached", mirror.id, number=mirror.reached))

    async def _next(self, mirror: _Mirror, at: str, seconds: float) -> _Entries:
        """The entries after `at`, as soon as there are some; empty if none comes within this time."""
        found: Any = await self._redis.xread({_events(mirror.id): at}, _BATCH, max(1, int(seconds * 1000)))
        return found[0][1] if found else []

    # Questions between the processes

    async def ask(self, verb: Verb, id: str) -> dict[str, Any] | None:
        answer = f"streamgauge:answer:{secrets.token_hex(8)}"
        try:
            for _ in range(await self._publish(_Message(verb, id, answer))):
                found = await self._redis.blpop([answer], timeout=_ANSWER_SECONDS / 2)
                if found is None:
                    raise Unreachable(_SILENT)  # it may have the stream
                reply: dict[str, Any] | None = msgspec.json.decode(found[1])
                if reply is not None:
                    return reply
        except _FAULTS:
            raise Unreachable(_AWAY) from None
        return None

    async def _publish(self, message: _Message) -> int:
        receivers: int = await self._redis.publish(_ASKED, msgspec.json.encode(message))
        return receivers

    async def _listen(self, listening: asyncio.Event) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(_ASKED)
            listening.set()
            await self._answer(channel)

    async def _answer(self, channel: PubSub) -> None:
        async for received in channel.listen():
            try:
                message = msgspec.json.decode(received["data"], type=_Message)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # of somebody else, or of another version of this server
            if message.verb != "reached":
                reply = msgspec.json.encode(self._sessions.lookup(message.verb, message.id))
                self._put("RPUSH", message.answer, reply)
                self._put("EXPIRE", message.answer, 10)
            elif message.id in self._sessions.kept:
                self._sessions.kept[message.id].delivered_elsewhere(message.number)

    # Background tasks

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this work, and start it again after an error of Redis."""
        while True:
            try:
                await work()
            except _FAULTS as fault:
                self._failed(fault)
            await asyncio.sleep(_HEARTBEAT_SECONDS / 4)


def _log(id: str) -> str:
    return f"streamgauge:log:{id}"


def _events(id: str) -> str:
    return f"streamgauge:events:{id}"


def _writer(name: str) -> str:
    return f"streamgauge:writer:{name}"
