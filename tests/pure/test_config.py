"""streamgauge.toml: its values, its secrets, and one clear line for whatever is wrong with it."""

from pathlib import Path

import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.load import load, parse
from streamgauge.harness.config.schema import Config, Target
from streamgauge.harness.config.secrets import Variables, filled_headers, filled_metrics, public
from streamgauge.harness.errors import ConfigError

CUSTOM = "[target]\nprotocol = 'custom'\nend = 'close'\n[target.events]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[target", "x.toml: not valid TOML: Expected ']'"),
        ("warm_up = '3s'", "alert; it is a key of [load]"),
        ("[prices]\ninput = 3", "alert; it is a key of [target]"),
        ("[load]\nrule = 'x'", "warm_up; it is a key of [[sla]]"),
        ("extra = 1", "x.toml: no key called 'extra'; there are target, load, sla"),
        (
            "[target]\nprotocoll = 'x'",
            "x.toml: target: no key called 'protocoll'; there are protocol, path, whole_path, model",
        ),
        ("[target]\nprotocol = 'grpc'", "no protocol called 'grpc'; there are anthropic_messages, openai_chat"),
        ("[[sla]]\nrule = 'x'\nseverity = 'bad'", "sla[0].severity: no severity called 'bad'; there are fail, warn"),
        ("[regression]\ntest = 'z'", "regression.test: no test called 'z'; there are t, mann_whitney"),
        ("[target]\nmax_tokens = 'many'", "x.toml: target.max_tokens: expected a whole number, got a text in quotes"),
        ("[target]\nverify = 'no'", "x.toml: target.verify: expected true or false, got a text in quotes"),
        ("[sla]\nrule = 'error_rate < 1%'", "x.toml: sla: write [[sla]] with two brackets: there may be several"),
        ("[monitor.target]\nname = 'x'", "x.toml: monitor.target: write [[monitor.target]] with two brackets"),
        ("[alert]\nkind = 'slack'", "x.toml: alert: write [[alert]] with two brackets: there may be several"),
        ("[[target]]\nmodel = 'x'", "x.toml: target: write [target] with single brackets: there is only one"),
        ("[target]\nmax_tokens = 0", "target.max_tokens: 0 is not a positive number"),
        ("[target]\npath = 'v1'", "target.path: 'v1' does not begin with a slash"),
        ("[target.timeouts]\nidel = '3s'", "target.timeouts: no key called 'idel'; there are connect, first_token"),
        ("[target.timeouts]\nidle = '3'", "target.timeouts.idle: '3' is not a duration: write a number and a unit"),
        ("[target.timeouts]\nidle = 3", "target.timeouts.idle: 3 is not a duration"),
        ("[target.limits]\nevent_bytes = 0", "target.limits.event_bytes: must be a positive number of bytes"),
        ("[target.headers]\n'a b' = 'c'", "target.headers: 'a b' is not a header name"),
        ("[target]\nreplica_header = 'x served by'", "target.replica_header: 'x served by' is not a header's name"),
        (
            "[target]\nreplica_header = 'Set-Cookie'",
            "may hold a secret, and its values are stored; name another header",
        ),
        ("[target.metrics]\nactive = 'x'", "target.metrics: the key 'url' is missing"),
        ("[target.metrics]\nurl = '/m'\nactiv = 'x'", "target.metrics: no key called 'activ'; there are url, active"),
        (
            "[target.metrics]\nurl = '/m'\ngenerated = 'a{b=\"c\"}'",
            "target.metrics.generated: 'a{b=\"c\"}' is not a metric's",
        ),
        (
            "[target.metrics]\nurl = '/m'\nheaders = { 'a b' = 'c' }",
            "metrics.headers: 'a b' is not a header name",
        ),
        ("[target]\nprotocol = 'custom'", "needs a table [target.events]"),
        ("[target.events]\nend_data = 'x'", '[target.events] goes with target.protocol = "custom"'),
        ("[target]\nprotocol='custom'\n[target.events]\ntext='t'", "does not say what ends a stream"),
        ("[reader]\ncharacters_per_second = 0", "reader.characters_per_second: 0.0 is not a number of 1 or more"),
        ("[reader]\ncharacters_per_second = nan", "reader.characters_per_second: nan is not a number of 1 or more"),
        ("[[sla]]\nrule = 'goodput > 99%'", "goodput needs limits: write them under [reader], as in good = { ttft"),
        (
            "[reader]\ngood = { tfft = '1s' }",
            "reader.good: no key called 'tfft'; there are ttft, tpot",
        ),
        ("[reader]\nspeed = 55", "reader: no key called 'speed'; there are characters_per_second"),
        (f"{CUSTOM}text = {{ att = 'a' }}", "target.events.text: no key called 'att'; there are at, each, sum"),
        (f"{CUSTOM}text = [{{ evnt = 'a' }}]", "target.events.text[0]: no key called 'evnt'; there are at, each"),
        (f"{CUSTOM}text = [{{ evnt = 'a' }}]", "; did you mean 'event'?"),
        ("[target.request]\nbody = {}\nroles = { asistant = 'x' }", "; did you mean 'assistant'?"),
        ("[target.request]\nbody = { q = '{prompt}' }\ndefaults = { promt = 'x' }", "; did you mean 'prompt'?"),
        ("[[sla]]\nrul = 'x'", "sla[0]: no key called 'rul'; there are rule, preset, where"),
        ("[[sla]]\nrule = 'x'\nwhere = { netwrk = 'x' }", "sla[0].where: no key called 'netwrk'; there are scenario"),
        ("[[sla]]\nwhere = {}", "sla[0]: the key 'rule' is missing"),
    ],
)
def test_a_fault_is_one_line_with_its_place_and_what_exists(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as fault:
        parse(text.encode(), "x.toml")
    assert expected in str(fault.value)
    assert str(fault.value).startswith("x.toml: ")
    assert "\n" not in str(fault.value)


def test_without_a_path_the_file_of_this_folder_is_read_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load() == Config()
    Path("streamgauge.toml").write_text("[target]\nmax_tokens = 7")
    assert load().target.max_tokens == 7
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such config file"):
        load("nowhere.toml")


def test_an_empty_file_is_a_config_of_defaults() -> None:
    assert parse(b"") == Config()


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("250ms", 250_000_000), ("1.5s", 1_500_000_000), ("2m", 120 * 10**9), ("7us", 7_000)]
)
def test_a_duration_has_a_unit_and_reads_back(text: str, nanoseconds: int) -> None:
    assert Duration.parse(text) == nanoseconds
    assert Duration.parse(str(Duration.parse(text))) == nanoseconds


def test_headers_are_filled_in_from_the_environment() -> None:
    target = parse(b"[target]\nheaders = { authorization = 'Bearer ${KEY}', x = 'plain' }").target
    assert filled_headers(target, Variables({"KEY": "abcdefgh"})) == {"authorization": "Bearer abcdefgh", "x": "plain"}
    with pytest.raises(ConfigError, match=r"target\.headers\.authorization: the environment has no variable 'KEY'"):
        filled_headers(target, Variables({}))
    with pytest.raises(ConfigError, match="a header's value cannot hold a line break"):
        filled_headers(target, Variables({"KEY": "abcdefgh\r\nx-evil: 1"}))
    with pytest.raises(ConfigError, match="a header's value cannot hold control characters"):
        filled_headers(target, Variables({"KEY": "abcd\x00efgh"}))


def test_what_may_be_shown_of_a_target_holds_no_header_values() -> None:
    target = parse(b"[target]\nheaders = { x-key = 'literal-secret' }\ntimeouts = { idle = '7s' }").target
    shown = public(target)
    assert shown["headers"] == {"x-key": "…"}
    assert shown["timeouts"] == {"idle": "7s"}
    assert "literal-secret" not in str(shown)


def test_the_metrics_page_is_filled_in_from_the_environment_and_what_may_be_shown_of_it_holds_no_secret() -> None:
    target = parse(
        b"[target.metrics]\nurl = 'https://me:literal@${HOST}/m?key=${KEY}'\n"
        b"headers = { a = 'Bearer ${KEY}', b = 'plain' }"
    ).target
    page = filled_metrics(target, Variables({"HOST": "there:90", "KEY": "abcd1234"}))
    assert page is not None
    assert page.url == "https://me:literal@there:90/m?key=abcd1234"
    assert page.headers == {"a": "Bearer abcd1234", "b": "plain"}
    shown = public(target)["metrics"]
    assert shown["url"] == "https://…@${HOST}/m?…"
    assert shown["headers"] == {"a": "…", "b": "…"}
    with pytest.raises(ConfigError, match=r"target\.metrics\.url: the environment has no variable 'HOST'"):
        filled_metrics(target, Variables({"KEY": "abcd1234"}))
    assert filled_metrics(Target()) is None


@pytest.mark.parametrize(
    "url", ["metrics", "//there/metrics", "ftp://there/metrics", "http://there:port/", "https:///m"]
)
def test_a_metrics_page_is_a_url_or_a_path_on_the_host(url: str) -> None:
    target = parse(f"[target.metrics]\nurl = '{url}'".encode()).target
    with pytest.raises(ConfigError, match=r"target\.metrics\.url: '.*' is not a URL: write https://host:port/metrics"):
        filled_metrics(target)


@pytest.mark.parametrize(
    "text",
    [
        b"[target]\nmax_tokens = " + b"9" * 5_000,
        b"[target.timeouts]\nidle = '" + b"9" * 400 + b"h'",
        b"[target.timeouts]\nidle = '99999999999h'",
        b"x = " + b"[" * 100_000,
        b"[" + b"a." * 5_000 + b"b]",
        b"\xff\xfe",
    ],
)
def test_a_config_that_would_exhaust_the_parser_is_a_mistake(text: bytes) -> None:
    with pytest.raises(ConfigError):
        parse(text)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('end = "close"\n[target.events]\nframing = "text"\ntext = "a.b"', "remove the other keys"),
        ('[target.events]\nframing = "text"', 'needs target.end = "close"'),
    ],
)
def test_raw_text_goes_with_no_events_and_ends_with_the_message(lines: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(f'[target]\nprotocol = "custom"\n{lines}'.encode())
