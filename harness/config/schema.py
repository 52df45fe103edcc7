"""The tables of streamgauge.toml, their keys and their defaults. A struct is a table, its fields are its keys."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from streamgauge.harness.config.alerts import AnyReceiver
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.share import Share

ProtocolName = Literal[
    "anthropic_messages",
    "openai_chat",
    "openai_responses",
    "plain_sse",
    "ollama",
    "gemini",
    "ai_sdk",
    "ag_ui",
    "custom",
]
Framing = Literal["sse", "ndjson", "text"]  # server-sent events, a JSON document on each line, or text as it comes
# What makes an answer complete: its terminal event alone, a stop reason alone, or a clean end of the HTTP message.
End = Literal["marker", "finish_reason", "close"]

GRACE = Duration.parse("30s")
FEWEST_BASELINE_RUNS = 10
FIRST_RUNS, FRESH_RUNS = range(2, 11), range(3, 11)  # what the numbers of runs of the gate's stages may be


class Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table that may have no other keys than its fields."""


class Timeouts(Closed, frozen=True):
    connect: Duration = Duration.parse("5s")
    first_token: Duration = Duration.parse("30s")  # from the request's start to the first content
    idle: Duration = Duration.parse("30s")  # between two reads
    total: Duration = Duration.parse("300s")


class Limits(Closed, frozen=True):
    """How much a server may send before the stream ends as MALFORMED: a protection against hostile servers."""

    stream_bytes: int = 8_000_000
    event_bytes: int = 1_000_000


class Place(Closed, frozen=True):
    """Where in the events something is: in those that match every key that is set, at a path."""

    at: str | None = None  # None: the whole data
    each: str | None = None  # path of a list: `at` and `where` lead into each of its items; those that match count
    sum: list[str] = []  # in place of `at`: the numbers at these paths, added up
    event: str | None = None  # the event's name
    data: str | None = None  # the event's whole data
    whole: bool = False  # of content that most servers send in pieces: it counts only if none of its kind came before
    # What must be the value at each of these paths; of a list, one of it.
    where: dict[str, str | int | float | bool | list[str]] = {}


Places = str | Place | list[str | Place] | None  # of several, the first that finds something counts


class Events(Closed, frozen=True):
    """A team's own stream format. Paths are dotted, into the JSON of an event's data: `choices.0.delta.text`."""

    framing: Framing = "sse"
    only_json: bool = False  # data that is no JSON, and no end, makes the stream malformed
    text: Places = None  # None: the whole data is the text
    thinking: Places = None
    tool: Places = None
    error: Places = None  # its presence makes the event an in-band error
    refused: Places = None  # the same for a question that is not answered at all: why it is not
    input_tokens: Places = None
    output_tokens: Places = None
    cache_read_tokens: Places = None
    cache_write_tokens: Places = None
    stop_reason: Places = None
    end: Places = None  # the stream has ended with such an event; with a path, if it holds a true value
    end_data: str | list[str] | None = None  # the same, as shorter spellings: an event's data is this,
    end_event: str | list[str] | None = None  # or its event name is this,
    end_path: str | list[str] | None = None  # or this path holds a true value


class Metrics(Closed, frozen=True):
    """The server's Prometheus page. The default names are those of the reference server."""

    url: str  # or its path on the host of the run
    active: str = "reference_streams_active"  # a gauge: the answers that are being generated
    generated: str = "reference_tokens_generated_total"  # a counter: the tokens generated since the server started
    headers: dict[str, str] = {}


class Request(Closed, frozen=True):
    """A team's own request. Strings may have places such as `{prompt}`: see `config.template`."""

    method: Literal["POST", "PUT", "GET"] = "POST"
    content_type: Literal["json", "form"] = "json"
    query: dict[str, str] = {}
    body: dict[str, Any] | None = None  # None: the protocol's own
    message: dict[str, Any] | None = None  # an item of {messages}, with {role} and {text}; None: role and content
    roles: dict[str, str] = {}  # {role} by its usual name: system, user, assistant
    tool: dict[str, Any] | None = None  # an item of {tools}, with {tool}; None: the tool's name
    defaults: dict[str, Any] = {}  # what a place stands for that has no value; None: its key is left out


class Credentials(Closed, frozen=True):
    """Where the users' credentials are; see `config.credentials`. One of the two."""

    file: str | None = None
    variable: str | None = None  # of the environment


class Prices(Closed, frozen=True):
    """What the provider charges, for a million tokens."""

    input: float
    output: float
    cache_read: float | None = None  # None: as `input`
    cache_write: float | None = None
    currency: str = "USD"
    # Whether the input tokens that the server reports include those of the prompt cache. None: as the protocol says.
    cached_in_input: bool | None = None


class Target(Closed, frozen=True):
    protocol: ProtocolName = "anthropic_messages"
    path: str | None = None  # None: the protocol's own
    whole_path: str | None = None  # of questions for an answer in one piece; None: as all others
    model: str = "reference"
    headers: dict[str, str] = {}
    max_tokens: int = 400
    body: dict[str, Any] = {}  # merged into the body of every request
    omit: tuple[str, ...] = ()  # keys of the protocol's body that are not sent; a dotted path leads into a table
    request: Request | None = None  # None: the protocol's request
    credentials: Credentials | None = None  # None: all users are the same to the server
    history: Literal["invented", "real"] = "invented"  # the answers that a conversation repeats to the server
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    verify: bool = True  # the TLS certificate
    events: Events | None = None  # for protocol = "custom"
    end: End | None = None  # None: an answer needs its terminal event, and a stop reason where the protocol has them
    metrics: Metrics | None = None  # None: the server's own metrics are not read
    replica_header: str | None = None  # the response header that names which server answered; None: there is none
    prices: Prices | None = None  # None: what a run costs is unknown


class Where(Closed, frozen=True):
    """Which streams a rule is about: those that match every key that is set."""

    scenario: str | None = None
    user: str | None = None
    network: str | None = None
    behaviour: str | None = None
    protocol: str | None = None
    client: str | None = None
    answer: Literal["streamed", "whole"] | None = None  # None: for a metric of streaming, the streamed answers
    cache: Literal["hit", "miss"] | None = None  # whether the server reported prompt tokens from its cache
    label: dict[str, str] = {}

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Every key but `label`."""
        return tuple(name for name in cls.__struct_fields__ if name != "label")

    def selected(self) -> dict[str, str]:
        """The keys that are set, and the values that they select. A label's key is `label.NAME`."""
        keys = {name: getattr(self, name) for name in self.keys()}
        labels = {f"label.{name}": value for name, value in self.label.items()}
        return {name: value for name, value in keys.items() if value is not None} | labels


class Sla(Closed, frozen=True):
    """A rule, or the name of a preset, which stands for its rules. Those have both: a rule, and where it came from."""

    rule: str = ""
    preset: str | None = None
    where: Where = Where()
    min_samples: int = 0  # with fewer, the rule is not judged
    lasting: Duration | None = msgspec.field(default=None, name="for")  # missed only if it is missed for this long
    severity: Literal["fail", "warn"] = "fail"  # warn: reported, but the run's verdict does not depend on it
    abort: bool = False  # end the run as soon as it has missed the rule
    grace: Duration | None = None  # how long a run goes on before `abort` may end it; None: GRACE


class Good(Closed, frozen=True):
    """The limits within which an answer counts in the goodput; None: no limit."""

    ttft: Duration | None = None
    tpot: Duration | None = None
    e2e: Duration | None = None
    longest_stall: Duration | None = None


class Reader(Closed, frozen=True):
    """The simulated person who reads the answers: the reading speed, and the limits of a good answer."""

    characters_per_second: float = 24.0  # skimming is about 55; 110 is reading as fast as the text appears
    good: Good = Good()


class Regression(Closed, frozen=True):
    """What the regression gate compares, and which changes are too small to count."""

    # Without a limit: rates, or aggregations of a metric. A median finds smaller changes than a p95 of the same runs.
    metrics: tuple[str, ...] = ("p50(ttft)", "p95(ttft)", "p95(itl)")
    margin: float = 0.05  # a change below 5 % is no regression
    margin_points: float = 0.01  # the same for a share such as error_rate, as a difference
    may_hide: float = 0.2  # OK needs runs that rule out a larger regression
    may_hide_points: float = 0.05
    window: int = 20  # a candidate is compared with at most this many of the newest accepted runs
    test: Literal["t", "mann_whitney"] = "t"
    first_runs: int = 3  # of the candidate, at most: fewer if they are clear
    fresh_runs: int = 5  # more runs of the candidate, if the first ones look worse
    run_time: Duration | None = None  # of each run of a series, where --run-time does not say it

    @property
    def fewest_baseline_runs(self) -> int:
        """Both stages compare with the same accepted runs: the more runs a stage has, the more must be accepted.

        With fewer, false alarms pass 1 %: tests/pure/test_gate_simulation.py.
        """
        return max(FEWEST_BASELINE_RUNS, 3 * self.first_runs, 2 * self.fresh_runs)


class Silences(Closed, frozen=True):
    """Periods in which a link carries nothing. Their lengths have a Pareto distribution between two bounds."""

    every: Duration  # mean time from the end of one to the beginning of the next
    shortest: Duration
    longest: Duration
    tail: float = 1.0  # Pareto's index: larger makes long ones rarer; 0: as many from 1 to 2 s as from 2 to 4 s


class Handovers(Closed, frozen=True):
    """A phone changes its cell, or changes to wifi: a silence, or all its connections break."""

    every: Duration  # on average
    shortest: Duration = Duration(0)  # of the silence
    longest: Duration = Duration(0)
    resets: float = 0.0  # the share of handovers that break connections instead


class Profile(Closed, frozen=True):
    """An emulated link."""

    rtt: Duration = Duration(0)
    jitter: Duration = Duration(0)  # mean of an exponential delay on top of each half of the round trip
    down_kbit: float = 0.0  # 0: any rate
    up_kbit: float = 0.0
    burst_bytes: int = 0  # how much a link that was idle carries at once
    loss: float = 0.0  # share of segments
    stalls: Silences | None = None
    handovers: Handovers | None = None
    trace: str | None = None  # a file with the deliveries of a recorded link, in place of down_kbit and silences


class Load(Closed, frozen=True):
    """When streams are due, and from when on they count. `drive.schedule` checks the schedule of an open load."""

    arrivals: str | None = None  # "constant", "poisson" or "file:PATH"; None: a closed load, Locust's users as they are
    rate: float | None = None  # arrivals a second; not with a file
    # Streams due in this first part of the load are stored, but count in no figure. None or 0: there is no such part.
    warm_up: Duration | None = None


class MonitorTarget(Closed, frozen=True):
    """An endpoint that the monitor probes. What is None is as in [target] or [monitor]."""

    name: str
    host: str
    labels: dict[str, str] = {}  # such as region, by which an [[slo]] may ask for "2 of 3"
    scenario: str | None = None
    protocol: ProtocolName | None = None
    model: str | None = None
    path: str | None = None


class Maintenance(Closed, frozen=True):
    """A time in which probes are recorded and count in no service level: once, or every week. Times are UTC."""

    begins: datetime | None = None
    ends: datetime | None = None
    day: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "every"] | None = None  # in place of begins and ends
    at: str | None = None  # HH:MM of that day
    lasts: Duration | None = None
    targets: tuple[str, ...] = ()  # empty: all


class Monitor(Closed, frozen=True):
    scenario: str = "probe"
    every: Duration = Duration.parse("60s")  # ± 20 %: a probe of each target
    tokens_per_day: int = 200_000  # of all targets together, input and output
    keep_raw: Duration = Duration.parse("7d")  # single streams; of older ones, hourly summaries are kept
    heartbeat: str | None = None  # a URL that is asked after each good round
    url: str | None = None  # of the status page, as the readers of alerts reach it
    otlp: str | None = None  # of an OpenTelemetry collector, such as http://127.0.0.1:4318
    target: list[MonitorTarget] = []
    maintenance: list[Maintenance] = []


class Slo(Closed, frozen=True):
    """A service level: which probes are good, and how many of them must be."""

    name: str
    good: str | list[str]  # of one probe; of several, all must hold
    objective: Share = Share.parse("99%")
    window: Duration = Duration.parse("30d")  # that the error budget is for
    where: Where = Where()  # which probes count
    failures: int | None = None  # the plain alternative to burn rates: alert after so many bad probes in a row,
    successes: int = 2  # and resolve after so many good ones
    regions: str | None = None  # "2 of 3": alert only if so many regions are bad; None: each target by itself


class Config(Closed, frozen=True):
    target: Target = Target()
    load: Load = Load()
    sla: list[Sla] = []
    reader: Reader = Reader()
    regression: Regression = Regression()
    networks: dict[str, Profile] = {}
    monitor: Monitor = Monitor()
    slo: list[Slo] = []
    alert: list[AnyReceiver] = []
