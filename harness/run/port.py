"""The port between a master and its workers: encrypted, and open only to those that know a shared secret.

Locust's own port is neither. Here both sides use libzmq's CURVE mechanism (https://rfc.zeromq.org/spec/26/), which
encrypts and authenticates each message in both directions, keeps their order, and takes none twice. Its keys are made
from STREAMGAUGE_TOKEN, and the master's public key is no public one: a peer that cannot derive it from the token is
refused in the first message of the handshake. So nothing of a stranger reaches Locust.

A worker introduces itself before anything else. The master refuses one whose scenario or version differs from its own,
and passes on to Locust only messages of the workers that it has admitted, each under the name of its connection.
"""

import hmac
import os
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import gevent
import msgspec
import zmq.green as zmq
from locust import runners
from locust.argument_parser import is_url, parse_locustfile_paths
from locust.exception import RPCError
from locust.rpc import Message, zmqrpc
from locust.runners import MasterRunner, WorkerRunner
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from streamgauge import __version__
from streamgauge.harness.errors import TargetError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.run import messages
from streamgauge.harness.run.messages import SILENT, Join, Pong, StartRun, Unfit
from streamgauge.harness.run.reserved_port import reserve
from streamgauge.harness.run.scenario_file import content_hash
from streamgauge.harness.run.terminal import end_main, say

TOKEN = "STREAMGAUGE_TOKEN"  # noqa: S105 - the name of the environment variable
_SHORTEST = 16  # characters of a token: with a short one, recorded messages could be tried against all tokens
_LOOPBACK = "127.0.0.1"
_HERE = {_LOOPBACK, "localhost", "::1"}
_EVERYWHERE, _USUAL_PORT = "*", 5557  # Locust's defaults
_MOST = 32 * 2**20  # bytes of a message; a larger one ends its connection before it is read. A batch has about 0.5 MiB
_MOST_REFUSED = 100  # reasons to refuse a worker that a master says
_KNOCKS = 3  # refused handshakes after which a worker says so
_GIVE_UP = 30.0  # seconds of refused handshakes after which a worker ends
_REMIND_EVERY = 60.0  # seconds between two lines about refused peers
_SPAWN = "spawn"  # Locust's message that starts users
_AT_ONCE = {"ack", "heartbeat", "quit", Pong.name}  # messages that a worker takes before the clocks are compared
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_EVENTS = _FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class _Beat(msgspec.Struct):
    state: str
    current_cpu_usage: float
    current_memory_usage: int = 0


class _Spawned(msgspec.Struct):
    user_classes_count: dict[str, int]
    user_count: int


class _Entry(msgspec.Struct):
    name: Any
    method: Any
    last_request_timestamp: float | None
    start_time: float
    num_requests: float
    num_none_requests: float
    num_failures: float
    total_response_time: float
    max_response_time: float
    min_response_time: float | None
    total_content_length: float
    response_times: dict[float, float]
    num_reqs_per_sec: dict[float, float]
    num_fail_per_sec: dict[float, float]


class _Error(msgspec.Struct):
    name: Any
    method: Any
    error: Any
    occurrences: float


class _Statistics(_Spawned):
    stats: list[_Entry]
    stats_total: _Entry
    errors: dict[str, _Error]


class _Logs(msgspec.Struct):
    worker_id: str
    logs: list[str]


class _Locustfile(msgspec.Struct):
    version: str


class _Raised(msgspec.Struct):
    msg: str
    traceback: str


_LOCUSTS: Mapping[str, Any] = {  # the data of Locust's own messages from workers, by type
    "client_ready": str,
    "client_stopped": None,
    "heartbeat": _Beat,
    "stats": _Statistics,
    "spawning": None,
    "spawning_complete": _Spawned,
    "logs": _Logs,
    "quit": None,
    "exception": _Raised,
    "locustfile": _Locustfile,
}


class Options(Protocol):
    """What Locust's parsed options say about its processes."""

    master: bool
    worker: bool
    processes: int | None
    locustfile: str
    master_host: str
    master_port: int
    master_bind_host: str
    master_bind_port: int


class Door:
    """What one process knows of the port. Locust may open the port anew; the door stays the same."""

    def __init__(self, token: str, scenario: Join, reserved: socket.socket | None = None) -> None:
        self.scenario = scenario  # of this process
        self.reserved = reserved  # keeps the port from other programs until the master opens it
        self.secret = z85.encode(hmac.digest(token.encode(), b"streamgauge master", "sha256"))
        self.public = zmq.curve_public(self.secret)
        self.admitted: set[str] = set()  # at the master: node ids
        self.ready: set[str] = set()  # of these, those that Locust counts as workers
        self.refused: set[str] = set()  # at the master: the reasons that were given
        self.heard_of: Counter[str] = Counter()  # at the master: messages of each worker that is ready, by node id
        self.shares_machine = False  # at the master: whether all workers are on its machine
        self.connected: bool | None = None  # at a worker; None before the first connection
        self.connections = 0  # at a worker: so far
        self.heard = 0  # at a worker: messages of the master
        self.compared = False  # at a worker: whether its clock and the master's are compared
        self.held: deque[Message] = deque()  # at a worker: messages that came before that
        self.retired = False  # at a worker: it starts no more users


def secure(options: Options) -> None:
    """Let Locust use the port as described above. Call it before Locust opens the port, and before it forks.

    Does nothing in a process without a port, or if it was called before. TargetError if the port may not be opened.
    """
    if not (options.master or options.worker or options.processes) or isinstance(zmqrpc.Server, partial):
        return
    token = os.environ.get(TOKEN)
    reserved = None
    if options.processes and not options.worker:
        reserved = _keep_local(options)
        if options.master_bind_host in _HERE:
            token = token or secrets.token_hex(32)  # the workers are forked, and inherit it in memory
    _check(token)
    door = Door(token or "", _scenario(options), reserved)
    door.shares_machine = options.master_bind_host in _HERE
    # Locust ends a run whose workers it misses, and gives their users to others while they still run. It should wait as
    # long as a worker elsewhere keeps its streams while its connection is down; one here may have to wait for a core.
    runners.HEARTBEAT_LIVENESS = round(SILENT)
    zmqrpc.Server, zmqrpc.Client = partial(MasterSocket, door), partial(WorkerSocket, door)
    for runner in (MasterRunner, WorkerRunner):
        runner.handle_message = _surviving(runner.handle_message)


def _keep_local(options: Options) -> socket.socket | None:
    """`--processes`: a port that only this machine reaches, and what reserves it. None: the options name one."""
    reserved = None
    if options.master_bind_host == _EVERYWHERE:
        options.master_bind_host = _LOOPBACK
    if options.master_bind_port == options.master_port == _USUAL_PORT:
        options.master_bind_port, reserved = reserve(_LOOPBACK)
        options.master_port = options.master_bind_port
    elif options.master_port == _USUAL_PORT:
        options.master_port = options.master_bind_port
    else:
        options.master_bind_port = options.master_port
    return reserved


def _check(token: str | None) -> None:
    advice = f"make one with `openssl rand -hex 32`, and set {TOKEN} to it for the master and for each worker"
    if not token:
        raise TargetError(
            f"a master and its workers need a shared secret in the environment variable {TOKEN}: {advice}"
        )
    if len(token) < _SHORTEST:
        raise TargetError(f"{TOKEN} is too short, with {len(token)} of at least {_SHORTEST} characters: {advice}")
    if not zmq.has("curve"):
        raise TargetError("the installed pyzmq cannot encrypt (CURVE is missing): install the one from PyPI")


def _scenario(options: Options) -> Join:
    given = [path.strip() for path in options.locustfile.split(",")]
    files = parse_locustfile_paths([path for path in given if path != "-" and not is_url(path)])
    return Join(version=__version__, content=content_hash(files), host=socket.gethostname())


def _open(zmq_socket: Any) -> None:
    zmq_socket.setsockopt(zmq.MAXMSGSIZE, _MOST)
    zmq_socket.setsockopt(zmq.LINGER, 2_000)  # ms; a process that ends does not wait longer for a peer that is gone


class MasterSocket(zmqrpc.Server):  # type: ignore[misc]  # Locust is untyped here
    def __init__(self, door: Door, host: str, port: int) -> None:
        """SystemExit after one line if the port cannot be opened: Locust would end with a traceback or exit code 1."""
        zmqrpc.BaseSocket.__init__(self, zmq.ROUTER, self.ipv4_only(host, port))
        _open(self.socket)
        # A firewall can cut only the worker's side: the new connection then takes the place of the old one.
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self.socket.curve_server = True
        self.socket.curve_publickey, self.socket.curve_secretkey = door.public, door.secret
        self.door = door
        self._warned_at = -_REMIND_EVERY
        self._monitor = self.socket.get_monitor_socket(_FAILED)
        try:
            self.socket.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as fault:
            say(
                f"streamgauge: the master's port {host}:{port} cannot be opened: {fault}; "
                f"end the program that uses it, or choose with --master-bind-host and --master-bind-port"
            )
            raise SystemExit(Exit.MISTAKE) from None
        self.port = int(self.socket.getsockopt(zmq.LAST_ENDPOINT).decode().rpartition(":")[2].strip("\0"))
        gevent.spawn(self._watch)

    def recv_from_client(self) -> tuple[str, Message]:
        """The next message of an admitted worker."""
        while True:
            node, message = self._next()
            if message is None or not isinstance(message.type, str):
                continue
            if message.type == Join.name:
                self._admit(node, message.data)
            elif node in self.door.admitted and message.node_id == node and self._in_order(node, message):
                return node, message

    def _in_order(self, node: str, message: Message) -> bool:
        """Whether Locust can take the message: it has the right data, and the worker has said that it is ready."""
        try:
            msgspec.convert(message.data, _LOCUSTS.get(message.type, Any))
        except msgspec.ValidationError:
            return False
        if message.type == "client_ready":
            self.door.ready.add(node)
        self.door.heard_of[node] += node in self.door.ready
        return node in self.door.ready

    def _next(self) -> tuple[str, Message | None]:
        """The next message and the name of the connection that it came by; None if it is no message of Locust's."""
        try:
            node, message = super().recv_from_client()
        except RPCError:  # the socket itself is broken: Locust opens it anew
            raise
        except Exception:  # noqa: BLE001 - msgpack and Locust raise many kinds, and no peer may end the master
            return "", None
        return node, message

    def close(self, linger: int | None = None) -> None:
        self.socket.disable_monitor()
        super().close(linger)

    def _admit(self, node: str, introduction: object) -> None:
        reason = self._unfit(introduction)
        if reason is None:
            self.door.admitted.add(node)
            return
        if reason not in self.door.refused and len(self.door.refused) < _MOST_REFUSED:
            self.door.refused.add(reason)
            say(f"streamgauge: {reason}; it was refused")
        self.send_to_client(Message(Unfit.name, messages.encode(Unfit(reason)), node))

    def _unfit(self, introduction: object) -> str | None:
        """Why a worker is refused. None: it is welcome."""
        join, own = messages.decoded(Join, introduction), self.door.scenario
        if join is None:
            return "a worker of another version of streamgauge wants to join"
        worker = f"the worker on {messages.cleaned(join.host)}"
        if join.version != own.version:
            return f"{worker} has streamgauge {messages.cleaned(join.version)}, and the master {own.version}"
        if join.content != own.content:
            return f"{worker} has another scenario than the master: copy the master's file to it"
        return None

    def _watch(self) -> None:
        """Say that peers were refused, which the peers themselves cannot know for certain."""
        with suppress(zmq.ZMQError):  # closed
            while True:
                self._monitor.recv_multipart()
                if time.monotonic() - self._warned_at > _REMIND_EVERY:
                    self._warned_at = time.monotonic()
                    say(f"streamgauge: a peer without the master's {TOKEN} was refused at port {self.port}")


class WorkerSocket(zmqrpc.Client):  # type: ignore[misc]  # Locust is untyped here
    def __init__(self, door: Door, host: str, port: int, identity: str) -> None:
        zmqrpc.BaseSocket.__init__(self, zmq.DEALER, self.ipv4_only(host, port))
        _open(self.socket)
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        self.socket.curve_serverkey = door.public
        self.socket.curve_publickey, self.socket.curve_secretkey = zmq.curve_keypair()
        self.door = door
        self._master = f"{host}:{port}"
        self._monitor = self.socket.get_monitor_socket(_EVENTS)
        gevent.spawn(self._watch)
        self.socket.connect(f"tcp://{host}:{port}")
        self.send(Message(Join.name, messages.encode(door.scenario), identity))

    def recv(self) -> Message:
        """The next message for Locust. Those of a run are held until the clocks are compared."""
        door = self.door
        while True:
            if door.held and door.compared:
                return door.held.popleft()
            message = self._next()
            if message is None or (door.retired and message.type == _SPAWN):
                continue
            of_run = bool(door.held) or message.type in {StartRun.name, _SPAWN}
            if door.compared or not of_run or message.type in _AT_ONCE:
                return message
            door.held.append(message)

    def _next(self) -> Message | None:
        """The next message of the master; None if it is none."""
        try:
            message = super().recv()
        except RPCError:  # the socket itself is broken: Locust opens it anew
            raise
        except Exception:  # noqa: BLE001 - as at the master
            return None
        self.door.heard += 1
        if message.type == Unfit.name:
            unfit = messages.decoded(Unfit, message.data)
            say(f"streamgauge: the master refused this worker: {messages.cleaned(unfit.reason) if unfit else ''}")
            end_main(Exit.MISTAKE)
        return message

    def close(self, linger: int | None = None) -> None:
        self.socket.disable_monitor()
        super().close(linger)

    def _watch(self) -> None:
        """Follow the state of the connection. libzmq makes and breaks it in a thread of its own."""
        knocks, since = 0, time.monotonic()
        with suppress(zmq.ZMQError):  # closed
            while True:
                event = parse_monitor_message(self._monitor.recv_multipart())["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self.door.connected = True
                    self.door.connections += 1
                    knocks, since = 0, time.monotonic()
                elif event == zmq.EVENT_DISCONNECTED and self.door.connected:
                    self.door.connected = False
                elif event & _FAILED:
                    knocks += 1
                    self._knocked(knocks, time.monotonic() - since)

    def _knocked(self, knocks: int, seconds: float) -> None:
        if knocks == _KNOCKS:
            say(
                f"streamgauge: the master at {self._master} refuses this worker: "
                f"is {TOKEN} the same for both, and the version of streamgauge?"
            )
        if self.door.connected is None and knocks >= _KNOCKS and seconds > _GIVE_UP:
            end_main(Exit.MISTAKE)


def _surviving(handle: Callable[..., None]) -> Callable[..., None]:
    """Outlive a message that Locust does not understand: it would end the greenlet that receives them."""

    def handled(*arguments: Any) -> None:  # the runner; at a master the sender; the message
        try:
            handle(*arguments)
        except Exception as fault:  # noqa: BLE001 - Locust raises whatever the message makes it do
            kind = messages.cleaned(str(arguments[-1].type))
            say(f"streamgauge: a message {kind!r} was dropped: {messages.cleaned(repr(fault))}")

    return handled
