"""Every message between a master and its workers, as a typed value. All encoding and decoding happens here.

    master → worker   Unfit, StartRun, Stored, Pong, FinishRun
    worker → master   Join, Ready, Batch, Done, Refused, Ping

They are sent as Locust's custom messages, so Locust manages the connections. A message that is not what it should be
is dropped whole. This module does not import locust.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import msgspec

from streamgauge.harness.config import duration
from streamgauge.harness.config.schema import Load, Profile, Target
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import VitalSample


class Message(msgspec.Struct, frozen=True):
    name: ClassVar[str]  # of Locust's message


class Join(Message, frozen=True):
    """The first message of a worker. The master admits it if `version` and `content` are its own."""

    name = "gauge_join"
    version: str  # of streamgauge
    content: str  # hash of the scenario's files
    host: str  # name of the machine


class Unfit(Message, frozen=True):
    """The worker is not admitted."""

    name = "gauge_unfit"
    reason: str


class LoadShare(msgspec.Struct, frozen=True):
    """One process's share of an open load."""

    load: Load
    schedule: str | None  # name of the schedule, to compare with the worker's own file; None: a closed load
    begins_at: int | None  # ns on the run's clock; None until all users have been spawned
    place: tuple[int, int] | None  # (i, n): this process serves arrivals i, i + n, i + 2n, …; None: it joined too late


class StartRun(Message, frozen=True):
    """Take part in this run. Sent again when the schedule of an open load begins, and after a lost connection.

    Environment variables in the target are not filled in: each machine fills in its own. A recorded link is sent as the
    path of its trace file, which must exist on each machine.
    """

    name = "gauge_run"
    run: str
    scenario: str
    processes: int  # that simulate the run's users
    host: str
    realtime_ns: int  # CLOCK_REALTIME at the run's zero, by the master's clock
    seed: int
    client: str | None  # the client of every user; None: the one that its class names
    target: Target
    networks: dict[str, Profile]
    users: dict[str, dict[str, Any]]  # by class: what must be equal here and there, as in the run's fingerprint
    load: LoadShare
    # When the run is over, also for a worker that is out of reach: ns on the run's clock; None: unknown.
    ends_at: int | None = None


class Stored(Message, frozen=True):
    name = "gauge_stored"
    run: str
    upto: int  # all batches of this worker up to this number are in the database
    missed: bool = False  # a later one came and was not taken: there is no room, or one before it is missing


class Pong(Message, frozen=True):
    name = "gauge_pong"
    asked: int  # copied from the ping
    answered: int  # CLOCK_REALTIME of the master when it answered, ns


class FinishRun(Message, frozen=True):
    """Stop the users and send what is left."""

    name = "gauge_finish"


class Machine(msgspec.Struct, frozen=True):
    """A process that simulates users, and the machine that it runs on."""

    host: str
    pid: int
    cpus: int | None  # that the process may use; None: unknown
    stamps: str  # "kernel" or "python": what takes the time of an arrival
    reader: str  # "compiled" or "python": what reads plain sockets
    resolution: str = ""  # how exact its times are by its machine's certificate, in words; why not, if there is none


class FromWorker(Message, frozen=True):
    """A message about one run."""

    run: str


class Ready(FromWorker, frozen=True):
    """The worker takes part."""

    name = "gauge_ready"
    worker: str
    machine: Machine
    clock_offset_ns: int | None  # how far its clock is ahead of the master's; None: not measured
    clock_doubt_ns: int | None  # the largest possible error of that offset


class Batch(FromWorker, frozen=True):
    """What a process recorded since its last batch."""

    name = "gauge_batch"
    worker: str
    number: int  # 1, 2, 3, … of this worker in this run
    streams: list[StreamObservation]
    vitals: list[VitalSample]
    begun: int = 0  # streams that the process has begun in this run


class Done(FromWorker, frozen=True):
    """The worker's users have stopped and all its batches are stored."""

    name = "gauge_done"


class Refused(FromWorker, frozen=True):
    """The worker cannot take part."""

    name = "gauge_refused"
    reason: str


class Ping(Message, frozen=True):
    """Asks for the master's time. Sent between runs, to compare the clocks of the two machines."""

    name = "gauge_ping"
    asked: int  # CLOCK_MONOTONIC of the worker when it asked, ns; the master only returns it


# Seconds without a message of the master after which a worker gives up. The master answers every heartbeat, one a
# second, unless it is busy. After a link was down for 5 s, it can take another 5 s until TCP tries again.
SILENT = 10.0

M = TypeVar("M", bound=Message)
_MOST_CHARACTERS = 300  # of a text that another process wrote
_encoder = msgspec.msgpack.Encoder(enc_hook=str)  # a Duration is written as in the config


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def decode(kind: type[M], data: bytes) -> M:
    return msgspec.msgpack.decode(data, type=kind, dec_hook=duration.decode)


def decoded(kind: type[M], data: object) -> M | None:
    """Like `decode`, for data that anything may be; None if it is not such a message."""
    try:
        return decode(kind, data) if isinstance(data, bytes) else None
    except (msgspec.MsgspecError, StreamgaugeError, ValueError, RecursionError):
        return None


def cleaned(text: str) -> str:
    """Text of another process as it may be shown: short, and without control characters."""
    return shortened(visible(text), _MOST_CHARACTERS)


def send(runner: Any, message: Message, node: str | None = None) -> None:
    """Send from a worker to its master (no `node`), or from the master to the worker with this node id."""
    send_encoded(runner, type(message), encode(message), node)


def send_encoded(runner: Any, kind: type[Message], message: bytes, node: str | None = None) -> None:
    """Like `send`, for a message that is encoded already."""
    runner.send_message(kind.name, message, node)


def listen(runner: Any, kind: type[M], take: Callable[[M, str], None], *, concurrent: bool = False) -> None:
    """Call `take` with each message of this kind and its sender's node id; `concurrent`: each in its own greenlet."""

    def take_whole(msg: Any, **_: Any) -> None:
        message = decoded(kind, msg.data)
        if message is not None:
            take(message, msg.node_id)

    runner.register_message(kind.name, take_whole, concurrent=concurrent)
