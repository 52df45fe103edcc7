"""The Locust user that scenarios subclass: a person with a link, a behaviour and questions.

Passes finished streams to the `record` of its process's `Assignment`; uses no database.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, uuid5

import gevent
from locust import User
from locust.env import Environment
from locust.exception import RescheduleTask, RescheduleTaskImmediately, StopTest
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_WAITING
from msgspec.structs import replace

from streamgauge.harness.config.schema import Profile, Target
from streamgauge.harness.drive import behaviour, clients, network, prompts
from streamgauge.harness.drive.attributes import misspelt
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question, Reply
from streamgauge.harness.drive.dispatcher import Dispatcher
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.reading.resumption import Place
from streamgauge.harness.drive.reading.transcript import Interrupted
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.turns import after_others, hurry
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation

_log = logging.getLogger("locust.streamgauge")
_AT_ONCE = 0.5  # seconds within which users count as let in together; Locust lets users in once a second
# Seconds: when the first of them begins, and over how long all do. So Locust has let in all of them, and has not begun
# with the next, which stops the loop for 10 ms each time.
_BEGIN, _SPREAD = 0.02, 0.93
_GOLDEN = 0.618034  # its multiples, modulo 1, are spread evenly however many there are
_STARVED_PAUSE = 1.0  # seconds; without it, each user would try again at once and fill the record


@dataclass(slots=True)
class LetIn:
    """Users that Locust has let in at once, as it does once a second."""

    at: float  # monotonic
    users: int = 0


@dataclass(slots=True)
class Assignment:
    """What the users of one process need to know about the current run."""

    scenario: str
    seed: int
    worker: str
    site: Site
    record: Callable[[StreamObservation], None]
    networks: Mapping[str, Profile] = field(default_factory=dict)  # from the config, in addition to the shipped ones
    dispatcher: Dispatcher | None = None  # None: a closed load, in which users decide when to ask
    streams: int = 0  # started so far
    users: Counter[str] = field(default_factory=Counter)  # number of users spawned so far, by class name
    run: str = ""  # the run's id
    share: tuple[int, int] = (0, 1)  # (i, n): this is process i of n, and is dealt the credentials i, i + n, i + 2n, …
    active: int = 0  # streams under way
    answer_time: float = 1.0  # seconds that the latest answer took, for `at_once`
    starved: int = 0  # streams for which this machine had no socket, port or memory
    let_in: LetIn = field(default_factory=lambda: LetIn(0.0))  # the latest
    may_ask: Callable[[Prompt, int], bool] = lambda *_: True  # whether the stream with this sequence may begin

    def identity(self, name: str, user: "StreamUser | type[StreamUser]", labels: Mapping[str, str]) -> dict[str, Any]:
        """Count one more stream of a user class called `name`. Returns what says which stream it is."""
        self.streams += 1
        return {
            "scenario": self.scenario,
            "user": name,
            "protocol": self.site.protocol.name,
            "client": user.client,
            "network": user.network,
            "behaviour": user.behaviour,
            "worker": self.worker,
            "sequence": self.streams,
            "labels": {**user.labels, **labels},
        }

    def one_more(self) -> LetIn:
        """Count a user that Locust lets in now. Returns those that come with it, who may be more in a moment."""
        now = time.monotonic()
        if now - self.let_in.at > _AT_ONCE:
            self.let_in = LetIn(now)
        self.let_in.users += 1
        return self.let_in


def assign(environment: Environment, assignment: Assignment | None) -> None:
    """Set the current run of this process's users. None: there is no run."""
    vars(environment)["gauge_assignment"] = assignment


def assigned(environment: Environment) -> Assignment | None:
    """The current run of this process's users; None if there is none."""
    found: Assignment | None = vars(environment).get("gauge_assignment")
    return found


# The attributes of a user class that a scenario may set: ours, and Locust's.
SETTABLE = (
    "network", "behaviour", "client", "prompts", "system", "tools", "fresh_connections", "labels",
    "wait_time", "weight", "fixed_count", "host", "tasks", "on_start", "on_stop", "abstract",
)  # fmt: skip


class StreamFailed(Exception):
    """How a failed stream appears in Locust's statistics; the details are in the record."""


class StreamUser(User):  # type: ignore[misc]  # locust ships no types
    """Subclass this, set the attributes that differ, and write tasks that call `self.stream()` or `self.fetch()`."""

    abstract = True
    network: ClassVar[str] = "direct"  # a name from streamgauge.harness.drive.network.NETWORKS
    behaviour: ClassVar[str] = "patient"  # a name from streamgauge.harness.drive.behaviour.BEHAVIOURS
    client: ClassVar[str] = "wire"  # a name from streamgauge.harness.drive.clients.CLIENTS
    prompts: ClassVar[str] = "chat"  # a shipped set, or the path of a JSONL file
    system: str | None = None  # system prompt for questions that have none; marked for the server's prompt cache
    tools: ClassVar[tuple[str, ...]] = ()  # names of tools that the server knows, offered with every question
    fresh_connections: ClassVar[bool] = False  # a new connection for every stream
    labels: ClassVar[dict[str, str]] = {}  # stored with every stream; rules can select by them with `where`

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        run = assigned(environment)
        if run is None:
            raise StopTest("streamgauge could not begin this run; the reason is above")
        name = type(self).__name__
        self._run = run
        self._name = name
        self.last: StreamObservation | None = None  # the record of the latest stream
        seed = f"{run.seed}/{run.worker}/{name}/{run.users[name]}"
        self.random = Random(seed)
        first = Random(f"{run.seed}/{run.worker}/begin").random()
        self._begins = (first + _GOLDEN * run.users.total()) % 1  # of the second in which it is let in
        place, processes = run.share
        number = place + run.users.total() * processes
        self._id = str(uuid5(NAMESPACE_URL, f"{run.run}/{run.worker}/{run.users.total()}"))
        self._conversations = 0
        self.last_text = ""  # of the latest answer; kept only if target.history is "real"
        run.users[name] += 1
        self._let_in = run.one_more()
        self._network = network.find(self.network, run.networks)
        self._behaviour = behaviour.find(self.behaviour)
        self._prompts = _load(self._prompt_file())
        self._client = clients.find(self.client)(run.site.for_user(self._id, number), fresh=self.fresh_connections)
        self._due_at: int | None = None  # CLOCK_MONOTONIC ns: due time of an arrival until its first stream starts
        if run.dispatcher is not None and self.takes_arrivals():
            self.__dict__["tasks"] = [type(self)._serve]  # overrides the tasks of the class

    @classmethod
    def takes_arrivals(cls) -> bool:
        """Whether these users serve the arrivals of an open load. Users with a `fixed_count` do not."""
        return not cls.fixed_count

    @classmethod
    def check(cls, target: Target, networks: Mapping[str, Profile]) -> None:
        """ScenarioError if an attribute names something that does not exist, or the client cannot ask the target."""
        for fault in misspelt(cls, StreamUser, SETTABLE):
            raise ScenarioError(fault)
        if not cls.tasks:
            raise ScenarioError(f"{cls.__name__} has no task: write @task above the method that asks")
        tools: Sequence[str] = cls.tools
        if isinstance(tools, str):  # otherwise each letter would count as a tool
            raise ScenarioError(f"{cls.__name__}.tools: write a tuple of names, as in ({tools!r},)")
        network.find(cls.network, networks)
        behaviour.find(cls.behaviour)
        clients.find(cls.client).check(target)
        bodies = any(prompt.body for prompt in _load(cls._prompt_file()))
        if bodies and target.request is not None and target.request.method == "GET":
            raise ScenarioError(f"{cls.prompts}: its prompts have a body, but target.request.method is GET")

    @classmethod
    def _prompt_file(cls) -> str:
        """`prompts`; a file may also be beside the scenario, wherever the run was started."""
        modules = (sys.modules.get(each.__module__) for each in cls.__mro__ if each not in StreamUser.__mro__)
        files = (getattr(module, "__file__", None) for module in modules)
        return prompts.found(cls.prompts, [Path(file).parent for file in files if file])

    @classmethod
    def traits(cls, networks: Mapping[str, Profile]) -> dict[str, str]:
        """This user class's entry in the run's fingerprint: runs are comparable only if it is equal."""
        traits = {
            "network": network.find(cls.network, networks).fingerprint,
            "behaviour": f"{cls.behaviour}@{behaviour.find(cls.behaviour).version}",
            "client": cls.client,
            "prompts": prompts.fingerprint(cls._prompt_file()),
        }
        if cls.system is not None:
            traits["system"] = sha256(cls.system.encode()).hexdigest()[:12]
        if cls.tools:
            traits["tools"] = ", ".join(cls.tools)
        return traits

    def stream(self, prompt: Prompt | str | None = None, labels: dict[str, str] | None = None) -> StreamObservation:
        """Send one question and read the answer as this person does. None sends the next of `prompts`.

        Returns the record of the stream, or after retries, of the last try. The records are stored without your help.
        The stream is due now, except for the first one of a task in an open load, which the schedule made due.
        """
        return self._ask(self._question(prompt), labels or {})

    def fetch(self, prompt: Prompt | str | None = None, labels: dict[str, str] | None = None) -> StreamObservation:
        """Like `stream`, but asks for the answer in one piece.

        Its record has `answer = "whole"`; it counts in no streaming metric: see docs/concepts/metrics.md.
        """
        return self._ask(replace(self._question(prompt), streamed=False), labels or {})

    def _question(self, prompt: Prompt | str | None) -> Prompt:
        """The prompt with this user's system prompt and tools added."""
        if prompt is None:
            prompt = prompts.choose(self._prompts, self.random)
        elif isinstance(prompt, str):
            prompt = prompts.ask(prompt)
        if self.system is not None and prompt.system is None:
            prompt = replace(prompt, system=self.system, cached=True)
        if prompt.conversation is None and self._run.site.request_format.personal:
            prompt = replace(prompt, conversation=self._new_conversation())
        return replace(prompt, tools=self.tools) if self.tools and not prompt.tools else prompt

    def _ask(self, prompt: Prompt, labels: dict[str, str]) -> StreamObservation:
        """One question with the retries and reconnects of this person's plan. Returns the record of the last stream."""
        plan = self._behaviour.plan(self.random).asking_for(prompt.max_tokens or self._run.site.target.max_tokens)
        # Each link has its own seed: how often it draws depends on the server, which must not change later prompts.
        link_seeds = count(self.random.getrandbits(64))
        reply = self._one_stream(prompt, plan, link_seeds, labels)
        times, retry = 0, plan.retry
        while retry is not None and times < retry.most and reply.observation.http_status in behaviour.OVERLOAD:
            times += 1
            gevent.sleep(retry.wait(times, reply.retry_after))
            reply = self._one_stream(prompt, plan, link_seeds, {**labels, "retry": str(times)})
        return self._reconnect(reply, prompt, plan, link_seeds, labels)

    def _reconnect(
        self, reply: Reply, prompt: Prompt, plan: Plan, link_seeds: Iterator[int], labels: dict[str, str]
    ) -> StreamObservation:
        """Resume the answer if its connection broke, as often as the plan allows. Returns the last stream's record."""
        times = barren = 0
        again = plan.reconnect
        while again is not None and (place := reply.place) is not None and times < again.most:
            times += 1
            gevent.sleep(again.wait(times, barren, place.retry, reply.retry_after))
            reply = self._one_stream(prompt, plan, link_seeds, {**labels, "reconnect": str(times)}, place)
            barren = 0 if reply.observation.content_chunks else barren + 1
        return reply.observation

    def _one_stream(
        self, prompt: Prompt, plan: Plan, link_seeds: Iterator[int], labels: dict[str, str], place: Place | None = None
    ) -> Reply:
        run = self._run
        if not run.may_ask(prompt, run.streams + 1):
            raise RescheduleTask  # ends the task, and only that
        answer = {"answer": "streamed" if prompt.streamed else "whole"}
        identity = run.identity(self._name, self, labels) | answer
        if self._due_at is None:
            self._client.prepare()
        hurry()
        is_own_time = self._due_at is None
        due_at, self._due_at = self._due_at or time.monotonic_ns(), None
        run.active += 1
        if is_own_time and self.last is not None and self.last.http_status in behaviour.OVERLOAD:
            identity |= {"after_refusal": max(0, run.site.clock.from_monotonic(due_at) - self.last.ended_at)}
        link = network.Link(self._network, next(link_seeds), plan.tunnel)
        by: BaseException | None = None
        try:
            reply = self._client.stream(Question(prompt, plan, link, due_at, identity, place))
        except Interrupted as end:
            self.last, by = end.seen, end.by
            run.record(end.seen)
            if end.seen.outcome is not Outcome.INTERRUPTED:  # its end came just before that of the run
                self._report_to_locust(end.seen)
        finally:
            run.active -= 1
        if by is not None:  # raised here: in the `except`, the two exceptions would refer to each other
            raise by
        seen = self.last = reply.observation
        resumes = place is not None and place.last_id is not None
        self.last_text = self.last_text + reply.text if resumes else reply.text
        run.record(seen)
        if seen.outcome is Outcome.INTERRUPTED:  # not by the end of the run: this machine had no room for it
            run.starved += 1
            gevent.sleep(_STARVED_PAUSE)
        self._report_to_locust(seen)
        # A slow link may deliver after the wire has finished: the person's next question waits for that.
        if (left := seen.ended_at - run.site.clock.now()) > 0:
            gevent.sleep(left / 1e9)
        return reply

    def conversation(self, turns: tuple[int, int] = (2, 6)) -> Iterator[Prompt]:
        """The questions of one conversation, to pass to `stream` one by one; each includes the history before it."""
        real = self._run.site.target.history == "real"
        known = (lambda: self.last_text) if real else None
        name = self._new_conversation()
        return (
            replace(prompt, conversation=name)
            for prompt in prompts.conversation(self._prompts, self.random, turns, known)
        )

    def _new_conversation(self) -> str:
        """An id that no other conversation of any run has."""
        self._conversations += 1
        return str(uuid5(NAMESPACE_URL, f"{self._id}/{self._conversations}"))

    def _serve(self) -> None:
        """The only task of a user in an open load: wait for an arrival, then run one of the class's tasks."""
        assert self._run.dispatcher is not None
        self._state = LOCUST_STATE_WAITING  # as in Locust's own wait(): Locust may stop such a user at any time
        with self._run.dispatcher.arrival(self._name) as (self.random, self._due_at), suppress(RescheduleTask):
            self._state = LOCUST_STATE_RUNNING
            self._taskset_instance.execute_task(self.random.choice(type(self).tasks))
        raise RescheduleTaskImmediately  # without think time: the schedule decides when streams are due

    def run(self) -> None:
        """As Locust's. `sys.exit()` and its like in a task end the run as an error of the scenario's.

        Locust itself would lose the user without a word, or end the process in the middle of the run.
        """
        self._wait_to_begin()
        try:
            super().run()
        except gevent.GreenletExit:
            raise
        except Exception as fault:  # noqa: BLE001 - Locust has reported it, and gevent would print a traceback for each user
            _log.error("%s", fault)
        except BaseException as fault:  # noqa: BLE001 - SystemExit, KeyboardInterrupt, gevent.Timeout, and what else there is
            raised = ScenarioError(f"{type(fault).__name__} {fault}".strip() + f" in {self._name}, which ends the run")
            raised.with_traceback(fault.__traceback__)
            self.environment.events.user_error.fire(user_instance=self, exception=raised, tb=fault.__traceback__)
            _log.error("%s", raised)
            runner, options = self.environment.runner, self.environment.parsed_options
            # Once this user has ended: Locust complains of one that ends while it stops all.
            self.greenlet.link(lambda _: runner.quit() if options.headless else runner.stop())

    def _wait_to_begin(self) -> None:
        """Spread the users whom Locust lets in in one second over that second; those of a spike begin together.

        All at once, they would wait for each other's connections, and that would be in their TTFT. At random moments,
        some would still meet: two TLS handshakes take as long as an even distance between 200 users.
        """
        together = getattr(self.environment.shape_class, "at_once", False) or self._run.dispatcher is not None
        if self._let_in.users > 1 and not together:
            self._state = LOCUST_STATE_WAITING  # as in Locust's own wait(): Locust may stop such a user at any time
            gevent.sleep(_BEGIN + _SPREAD * self._begins)
            after_others()

    @property
    def connected(self) -> bool:
        """Whether the next stream goes over the connection that the last one left open."""
        return not self.fresh_connections and self._client.connected

    def hang_up(self) -> None:
        """Close that connection: the next stream opens a new one."""
        self._client.hang_up()

    def on_stop(self) -> None:
        self._client.close()

    def _report_to_locust(self, seen: StreamObservation) -> None:
        """Fire one Locust request event for each stream. Its response time is the TTFT; None without content.

        For a stream that resumed an answer, it is the resume gap instead: the answer's first token came earlier.
        """
        failed = None
        if seen.outcome in FAILURES:
            failed = StreamFailed(f"{seen.outcome} {seen.http_status or ''}".strip())
        metric, took = "TTFT", None if seen.first_content_at is None else seen.first_content_at - seen.due_at
        if seen.resumed_from is not None:
            metric, took = "resume gap", seen.resume_gap
        streamed = seen.answer == "streamed"
        self.environment.events.request.fire(
            request_type="SSE" if streamed else self._run.site.request_format.method,
            name=f"{self._name} {metric if streamed else 'answer'}",
            response_time=None if took is None else took / 1e6,
            response_length=seen.body_bytes,
            response=None,
            context=self.context(),
            exception=failed,
        )


@cache
def _load(name: str) -> tuple[Prompt, ...]:
    return prompts.load(name)
