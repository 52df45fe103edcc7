"""What the master and its workers say to each other arrives as it was sent."""

from typing import Any

import msgspec
import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Load
from streamgauge.harness.config.secrets import for_workers, with_own_keys
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run import messages
from streamgauge.harness.run.messages import Batch, FinishRun, LoadShare, Machine, Message, Ready, StartRun
from tests.support.record import observation

CONFIG = b"""
[target]
protocol = "custom"
headers = { "x-api-key" = "${KEY}" }
[target.timeouts]
idle = "1500ms"
[target.events]
end_data = "x"
[networks.office]
rtt = "80ms"
down_kbit = 2000
stalls = { every = "20s", shortest = "1s", longest = "2s" }
"""


def start() -> StartRun:
    given = parse(CONFIG)
    return StartRun(
        processes=2,
        run="chat-1",
        scenario="chat",
        host="http://127.0.0.1:1",
        realtime_ns=1_795_424_400_000_000_000,
        seed=3,
        client=None,
        target=given.target,
        networks=given.networks,
        users={"Chat": {"client": "wire", "weight": 1}},
        load=LoadShare(Load(arrivals="poisson", rate=5.0), "poisson 5/s", None, (1, 4)),
    )


@pytest.mark.parametrize(
    "message",
    [
        start(),
        FinishRun(),
        Batch("chat-1", "worker-0", 7, [observation(labels={"a": "b"})], [VitalSample(5, Vital.USERS, 3.0)]),
        Ready("chat-1", "worker-0", Machine("here", 7, 2, "kernel", "compiled"), None, None),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    assert messages.decode(type(message), messages.encode(message)) == message


def test_secrets_are_not_sent_to_workers_which_fill_them_in() -> None:
    assert b"${KEY}" in messages.encode(start())


def test_literal_keys_are_not_sent_to_workers_which_have_them_in_their_own_config() -> None:
    config = b"""
        [target.headers]
        Authorization = "Bearer sk-literal"
        x-api-key = "${KEY}"
        anthropic-version = "2023-06-01"
        [target.metrics]
        url = "/metrics?key=sk-literal"
    """
    sent = for_workers(parse(config).target)
    assert b"sk-literal" not in messages.encode(msgspec.structs.replace(start(), target=sent))
    assert sent.headers["x-api-key"] == "${KEY}"
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert with_own_keys(sent, lambda: parse(config).target).headers == parse(config).target.headers
    with pytest.raises(
        ConfigError, match=r"target\.headers\.Authorization: keys that a config holds literally are not"
    ):
        with_own_keys(sent, lambda: parse(b"").target)


@pytest.mark.parametrize("data", [None, 7, "text", b"", b"\xc1", b"\x90" * 99, b"\x91" * 5_000, {"run": "chat-1"}])
def test_data_that_is_no_message_is_none(data: object) -> None:
    assert messages.decoded(Ready, data) is None


def test_a_listener_drops_what_is_no_message() -> None:
    line = Line()
    heard: list[Message] = []
    messages.listen(line, Batch, lambda message, _: heard.append(message))
    whole = messages.encode(Batch("chat-1", "worker-0", 1, [observation()], []))
    for data in (whole[:-1], whole + b"\0", b"\xff" * 99, messages.encode(start())):
        line.send_message(Batch.name, data, "node-1")
    assert heard == []


def test_a_listener_gets_the_message_and_its_sender() -> None:
    line = Line()
    heard: list[tuple[Message, str]] = []
    messages.listen(line, FinishRun, lambda *what: heard.append(what))
    messages.send(line, FinishRun(), "node-1")
    assert heard == [(FinishRun(), "node-1")]


class Line:
    """A runner of Locust's whose messages come back to itself."""

    def __init__(self) -> None:
        self._listeners: dict[str, Any] = {}

    def register_message(self, name: str, listener: Any, *, concurrent: bool) -> None:
        assert not concurrent
        self._listeners[name] = listener

    def send_message(self, name: str, data: bytes, node: str) -> None:
        self._listeners[name](environment=None, msg=Said(data, node))


class Said:
    def __init__(self, data: bytes, node_id: str) -> None:
        self.data = data
        self.node_id = node_id
