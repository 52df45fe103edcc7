"""Resumable streams for several server processes: each log also in Redis, written by one process and read by any.

    streamgauge:log:ID      what a reader has to know before it reads (JSON, `_About`)
    streamgauge:events:ID   a Redis Stream: event n of the log has the id n-0, and what has `end` instead is its end
    streamgauge:writer:NAME is there as long as the process of that name lives
    streamgauge:asked       a channel on which every process is asked for what only one of them knows

Events go to this process's own readers at once and to Redis in batches right behind them, so nobody waits for Redis.
While it does not answer, what is kept there fails, in the streams themselves, and no more is kept; all else goes on.
"""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streamgauge.reference_server.delivery import KEEP_ALIVE, Manner
from streamgauge.reference_server.sessions import Log, Session, Sessions, Unreachable

_AWAY = "the Redis that keeps resumable answers does not do its work"
_ASKED = "streamgauge:asked"
_ANSWER_SECONDS = 2  # that Redis, or another process, has
_BEAT_SECONDS = 1
_LEASE_SECONDS = 5  # without a beat, and a process counts as gone
_LONGEST = 60  # seconds that a running log stays without a beat of its writer
_BATCH = 500  # commands, or entries, at a time
_QUIET_SECONDS = Manner().keep_alive / 1e9

_Entries = Any  # pairs of a bytes id and its fields, as bytes; redis-py's type has every way of decoding in it
_FAULTS = (RedisError, OSError, TimeoutError)


class _About(msgspec.Struct):
    path: str
    lost: bytes
    idle: int
    grace: float  # seconds
    writer: str


class _Asked(msgspec.Struct):
    verb: str  # as in `Sessions.told`; or `reached`, which is not answered
    id: str
    answer: str = ""  # the list that the answer goes to
    number: int = 0  # the last event that a reader elsewhere has


def check(url: str) -> None:
    """ValueError, or one of Redis' own errors, where this is no Redis that can be used."""

    async def ping() -> None:
        async with _connect(url) as redis:
            await redis.ping()

    try:
        asyncio.run(ping())
    except _FAULTS as fault:
        raise ValueError(f"cannot be used: {fault}") from None


def _connect(url: str) -> "Redis":
    # Nothing is tried twice: an entry that was added, and whose answer was lost, cannot be added again.
    return Redis.from_url(url, socket_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0))


class _Mirror(Log):
    """What another process writes, as far as it is known here."""

    def __init__(self, id: str, about: _About) -> None:
        super().__init__(id, about.path, about.lost, about.idle)
        self.wanted_at = 0.0  # when somebody last looked for it, and may be about to read it

    def take(self, entries: _Entries) -> str:
        """Put these entries of the Stream into the log. The id of the last, from which to read on."""
        first, last = (int(entries[end][0].partition(b"-")[0]) for end in (0, -1))
        if self.last == 0:
            self.first, self.last = first, first - 1  # the oldest may be gone
        if first != self.last + 1 or last - first + 1 != len(entries):
            self.lose()
            return f"{last}-0"
        self.append([fields[b"event"] for _, fields in entries if b"event" in fields])
        if b"end" in entries[-1][1]:
            self.end()
        return f"{last}-0"


class RedisLogs:
    """A `sessions.Shared`: one for each process, started and stopped in its event loop."""

    def __init__(self, url: str, sessions: Sessions) -> None:
        self._redis = _connect(url)
        self._sessions = sessions
        self._name = secrets.token_hex(8)
        self._running: dict[str, Session] = {}  # that this process writes
        self._broken: list[str] = []  # ids, of logs that can never be finished
        self._commands: list[tuple[Any, ...]] = []  # to be sent to Redis
        self._more = asyncio.Event()
        self._fault = ""
        self._mirrors: dict[str, _Mirror] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        heard = asyncio.Event()
        for work in (self._write, self._beat, lambda: self._listen(heard)):
            self._spawn(self._lasting(work))
        await heard.wait()

    async def stop(self) -> None:
        """Once no stream is on its way."""
        with contextlib.suppress(*_FAULTS):
            await self._flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    # What this process writes

    def refused(self) -> str | None:
        return self._fault or None

    def append(self, session: Session, first: int, events: Sequence[bytes]) -> None:
        if first == 1:
            self._running[session.id] = session
            about = _About(session.path, session.lost, session.idle, session.grace / 1e9, self._name)
            self._put("SET", _log(session.id), msgspec.json.encode(about), "EX", _LONGEST)
        elif session.id not in self._running:
            return
        for number, event in enumerate(events, first):
            kept = number - session.first + 1  # as many as in memory
            self._put("XADD", _events(session.id), "MAXLEN", "~", kept, f"{number}-0", "event", event)

    def end(self, session: Session) -> None:
        if self._running.pop(session.id, None) is None:
            return
        self._put("XADD", _events(session.id), f"{session.last + 1}-0", "end", "")
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

    async def _beat(self) -> None:
        while True:
            living = [("SET", _writer(self._name), "", "EX", _LEASE_SECONDS)]
            kept = [("EXPIRE", key(id), _LONGEST) for id in self._running for key in (_log, _events)]
            broken = [("UNLINK", _log(id), _events(id)) for id in self._broken]
            await self._send([*living, *kept, *broken])
            del self._broken[: len(broken)]
            self._fault = ""
            await asyncio.sleep(_BEAT_SECONDS)

    def _failed(self, fault: BaseException) -> None:
        if not self._fault:
            # For who runs the server: where its Redis is concerns no client.
            sys.stderr.write(f"streamgauge serve: --redis-url: {fault or type(fault).__name__}\n")
        self._fault = _AWAY
        running, self._running = self._running, {}
        self._broken += running
        self._commands.clear()
        for session in running.values():
            if session.stream is not None:
                session.stream.fail(503, self._fault)

    # What others write

    async def find(self, id: str) -> Log | None:
        mirror = self._mirrors.get(id)
        if mirror is None:
            try:
                found = await self._redis.get(_log(id))
                if found is None and await self.ask("kept", id) is not None:
                    found = await self._redis.get(_log(id))  # the answer came behind what was on its way to Redis
                if found is None:
                    return None
                about = msgspec.json.decode(found, type=_About)
                mirror = _Mirror(id, about)
                at = await self._load(mirror)
            except _FAULTS:
                raise Unreachable(_AWAY) from None
            if id not in self._mirrors:
                self._mirrors[id] = mirror
                self._spawn(self._follow(mirror, at, about))
        mirror = self._mirrors.get(id, mirror)
        mirror.wanted_at = time.monotonic()
        return mirror

    async def _load(self, mirror: _Mirror) -> str:
        """Everything that is there; where to read on."""
        at = "0-0"
        entries: _Entries
        while entries := await self._redis.xrange(_events(mirror.id), f"({at}", count=_BATCH):
            at = mirror.take(entries)
        return at

    async def _follow(self, mirror: _Mirror, at: str, about: _About) -> None:
        """Let it grow as the log does, for as long as somebody reads it here, and let the writer know of that."""
        pause = min(_BEAT_SECONDS, about.grace / 3)
        told, told_at, heard_at = 0, 0.0, time.monotonic()
        try:
            while mirror.readers or time.monotonic() < mirror.wanted_at + _LEASE_SECONDS:
                now = time.monotonic()
                if now > told_at + pause and (mirror.readers or mirror.reached > told):
                    told, told_at = mirror.reached, now
                    await self._tell(_Asked("reached", mirror.id, number=told))
                if mirror.over:
                    await asyncio.sleep(pause)
                elif entries := await self._next(mirror, at, pause):
                    at, heard_at = mirror.take(entries), now
                elif await self._redis.exists(_log(mirror.id), _writer(about.writer)) < 2:
                    mirror.lose()
                elif now > heard_at + _QUIET_SECONDS:
                    mirror.comment(KEEP_ALIVE)
                    heard_at = now
        except _FAULTS:
            mirror.lose()
        finally:
            del self._mirrors[mirror.id]

    async def _next(self, mirror: _Mirror, at: str, seconds: float) -> _Entries:
        """What comes after `at`, as soon as there is something; nothing when so much time has gone by."""
        found: Any = await self._redis.xread({_events(mirror.id): at}, _BATCH, max(1, int(seconds * 1000)))
        return found[0][1] if found else []

    # What the processes tell each other

    async def ask(self, verb: str, id: str) -> dict[str, Any] | None:
        answer = f"streamgauge:answer:{secrets.token_hex(8)}"
        try:
            for _ in range(await self._tell(_Asked(verb, id, answer))):
                found = await self._redis.blpop([answer], timeout=_ANSWER_SECONDS / 2)
                if found is None:
                    return None
                said: dict[str, Any] | None = msgspec.json.decode(found[1])
                if said is not None:
                    return said
        except _FAULTS:
            raise Unreachable(_AWAY) from None
        return None

    async def _tell(self, asked: _Asked) -> int:
        heard: int = await self._redis.publish(_ASKED, msgspec.json.encode(asked))
        return heard

    async def _listen(self, heard: asyncio.Event) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(_ASKED)
            heard.set()
            await self._answer(channel)

    async def _answer(self, channel: PubSub) -> None:
        async for message in channel.listen():
            asked = msgspec.json.decode(message["data"], type=_Asked)
            if asked.answer:
                said = msgspec.json.encode(self._sessions.told(asked.verb, asked.id))
                self._put("RPUSH", asked.answer, said)
                self._put("EXPIRE", asked.answer, 10)
            elif asked.id in self._sessions.kept:
                self._sessions.kept[asked.id].read_elsewhere(asked.number)

    # Work that goes on

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lasting(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except _FAULTS as fault:
                self._failed(fault)
            await asyncio.sleep(_BEAT_SECONDS / 4)


def _log(id: str) -> str:
    return f"streamgauge:log:{id}"


def _events(id: str) -> str:
    return f"streamgauge:events:{id}"


def _writer(name: str) -> str:
    return f"streamgauge:writer:{name}"
