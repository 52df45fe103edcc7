"""The service levels of a config: what each mistake says, when a budget burns, and what maintenance is."""

from datetime import UTC, datetime

import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Maintenance
from streamgauge.harness.config.share import Share
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.monitor.burn import PACES, Counts
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.monitor.maintenance import covers
from tests.support.monitoring import TARGETS, config

SLO = '[[slo]]\nname = "a"\ngood = "ttft < 1s"\n'
X = '[[monitor.target]]\nname = "x"\nhost = '
US = '[[monitor.target]]\nname = "us"\nhost = "http://us.example"\nlabels = { region = "us" }\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f'{SLO}objective = "100%"',
            "slo[0].objective: 100 % leaves no error budget, so the first bad probe spends it",
        ),
        (f"{SLO}objective = 1.0", "slo[0].objective: 100 % leaves no error budget"),
        (f"{SLO}objective = 1", "slo[0].objective: 100 % leaves no error budget"),
        (f'{SLO}objective = "0%"', "slo[0].objective: 0 % is reached by any endpoint"),
        (f"{SLO}objective = 99", 'slo[0].objective: 99 is not from 0 to 100 %: write a percentage, as in "99.5%"'),
        (f'{SLO}objective = "most"', "slo[0].objective: 'most' is not a share: write a percentage"),
        (f"{SLO}objective = nan", "slo[0].objective: nan is not from 0 to 100 %"),
        (f'{SLO}window = "30s"', "slo[0].window: 30s is shorter than monitor.every, 1m, and holds no probe"),
        (f'{SLO}window = "30m"', 'slo[0].window: 30m: write a time from "1h", over which the fastest alert looks'),
        (f'{SLO}window = "91d"', 'slo[0].window: 131040m: write a time from "1h"'),
        (SLO + SLO, "slo[1].name: a second one called 'a': give each [[slo]] a name of its own"),
        ('[[slo]]\nname = ""\ngood = "completed"', "slo[0].name: '' is not a name"),
        (f"{SLO}failures = 0", "slo[0].failures: 0: write a number of probes from 1 to 1000"),
        (f"{SLO}objektive = 3", "slo[0]: no key called 'objektive'; there are name, good, objective"),
        (f'{SLO}regions = "2 of 3"', "slo[0].regions: the target 'eu' has no region: write labels = { region"),
        (f'{SLO}regions = "most"', "slo[0].regions: 'most': write it as in \"2 of 3\""),
        (
            f'{SLO}where = {{ label = {{ target = "es" }} }}',
            "where.label.target: no target has 'es'; there are eu",
        ),
        (f'{SLO}where = {{ labels = "x" }}', "slo[0].where: no key called 'labels'; there are scenario"),
        ('[monitor]\nevery = "0s"', 'monitor.every: 0m: write a time from "1s" to "1d"'),
        ("[monitor]\ntokens_per_day = 0", "monitor.tokens_per_day: 0 is not a number of tokens"),
        ('[monitor]\nkeep_raw = "5m"', 'monitor.keep_raw: 5m: write a time from "1h" to "400d"'),
        (TARGETS, "monitor.target[1].name: a second one called 'eu'"),
        ('[[monitor.target]]\nname = "x"\nhost = "eu.example"', "monitor.target[1].host: 'eu.example' is no URL"),
        (
            '[[monitor.target]]\nname = "x"\nhost = "http://x"\nlabels = { target = "y" }',
            "monitor.target[1].labels.target: this label is the target's name already",
        ),
        (f'{X}"http://x:99999"', "monitor.target[1].host: 'http://x:99999' is no URL"),
        (f'{X}"http://x/v1?key=geheim"', "monitor.target[1].host: has a query or a fragment, which may hold a key"),
        (f'{X}"http://u:geheim@x"', "monitor.target[1].host: holds a user name or password: use target.headers"),
        (f'{X}"http://${{GEHEIM}}.x"', "monitor.target[1].host: variables are not filled in here"),
        (f'{X}"http://x"\nlabels = {{ "a=b" = "c" }}', "labels: 'a=b' is not a label's name: write a letter"),
        (f'{X}"http://x"\nlabels = {{ "a-b" = "c", a_b = "d" }}', "Prometheus has the same name for 'a-b'"),
        (f'{X}"http://x"\nlabels = {{ a = "b\\nc" }}', "labels.a: its value is not up to 200 printable characters"),
        ('[monitor]\nheartbeat = "hc.example/ping"', "monitor.heartbeat: 'hc.example/ping' is no URL"),
        ('[monitor]\notlp = "http://u:geheim@x"', "monitor.otlp: holds a user name or password: write ${NAME}"),
        ("[monitor]\ntokens_per_day = 99999999999999999999", "monitor.tokens_per_day: 1e+20 is no budget"),
        (f'{SLO}objective = "99.9999999%"', "slo[0].objective: 99.9999999 % is more than probes can show"),
        (f"{SLO}successes = 5", "slo[0].successes: goes with failures"),
        (f'[[slo]]\nname = "a"\ngood = {["completed"] * 150}', "longer than 1,000 characters"),
        ('[[monitor.target]]\nname = "x"\nhost = "http://x"\nprotocol = "grpc"', "protocol called 'grpc'; there are"),
        (
            "[[monitor.maintenance]]\nbegins = 2026-12-01T02:00:00Z",
            "maintenance[0]: give either begins and ends, or day",
        ),
        (
            "[[monitor.maintenance]]\nbegins = 2026-12-01T02:00:00\nends = 2026-12-01T03:00:00",
            "maintenance[0].begins: 2026-12-01T02:00:00 has no time zone: write a Z behind it for UTC",
        ),
        (
            "[[monitor.maintenance]]\nbegins = 2026-12-01T02:00:00Z\nends = 2026-12-01T02:00:00Z",
            "maintenance[0].ends: 2026-12-01T02:00:00+00:00 is not after begins",
        ),
        (
            '[[monitor.maintenance]]\nday = "sun"\nat = "2:00"\nlasts = "2h"',
            "maintenance[0].at: '2:00' is not a time of day: write it as in \"02:30\"; it is UTC",
        ),
        (
            '[[monitor.maintenance]]\nday = "every"\nat = "02:00"\nlasts = "1d"',
            "maintenance[0].lasts: 1440m: must be more than 0, and end before the next one begins",
        ),
        (
            '[[monitor.maintenance]]\nday = "sun"\nat = "02:00"\nlasts = "2h"\ntargets = ["ue"]',
            "maintenance[0].targets: no target called 'ue'; there are eu",
        ),
        (
            '[[slo]]\nname = "a"\ngood = "ttfb < 1s"',
            "[[slo]] 'a': 'ttfb < 1s': no metric called 'ttfb'; there are",
        ),
        ('[[slo]]\nname = "a"\ngood = "ttfft < 1s"', "resume_duplicated, completed, not failed; did you mean 'ttft'?"),
        ('[[slo]]\nname = "a"\ngood = "itl < 1s"', "'itl < 1s': a stream has many samples of itl; there are ttft"),
        ('[[slo]]\nname = "a"\ngood = "ttft < 1"', "'ttft < 1': the limit has no unit; there are ms, s"),
        ('[[slo]]\nname = "a"\ngood = "ttft = 1s"', "'ttft = 1s': no operator '='; there are <, <=, >, >="),
        (
            '[[slo]]\nname = "a"\ngood = "fast"',
            "'fast' says nothing of a single stream; write it like 'ttft < 1.5s', or",
        ),
        ('[[slo]]\nname = "a"\ngood = ""', "'' says nothing of a single stream"),
        ('[[slo]]\nname = "a"\ngood = "p95(ttft) < 1s"', "'p95(ttft) < 1s' says nothing of a single stream"),
        ('[[slo]]\nname = "a"\ngood = []', "good: empty"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(text: str, expected: str) -> None:
    with pytest.raises(StreamgaugeError) as fault:
        levels(config(text))
    assert expected in str(fault.value)
    assert "\n" not in str(fault.value)
    assert "geheim" not in str(fault.value)


def test_regions_must_be_as_many_as_the_targets_have() -> None:
    with pytest.raises(StreamgaugeError, match=r"'2 of 3', but the targets have 1 \(us\)"):
        parse(f'{US}{SLO}regions = "2 of 3"'.encode())
    with pytest.raises(StreamgaugeError, match="the first number must be from 1 to the second"):
        parse(f'{US}{SLO}regions = "2 of 1"'.encode())


def test_without_targets_there_is_nothing_to_probe() -> None:
    with pytest.raises(StreamgaugeError, match=r"write at least one \[\[monitor.target\]\]"):
        levels(parse(b""))


def test_without_service_levels_those_that_teams_start_from_are_watched() -> None:
    found = {(level.name, level.good.text, level.objective) for level in levels(config(""))}
    assert found == {
        ("first token", "ttft < 2s", 0.95),
        ("errors", "not failed", 0.99),
        ("completion", "completed", 0.99),
    }


def test_a_label_of_the_targets_chooses_targets_and_any_other_chooses_streams() -> None:
    where = 'where = { label = { region = "us", prompt = "short" } }'
    (level,) = levels(config(f"{SLO}{where}", TARGETS + US))
    assert (level.targets, level.where.label) == (("us",), {"prompt": "short"})


def test_another_definition_begins_to_count_anew_and_another_objective_does_not() -> None:
    def definition(text: str) -> str:
        return levels(config(text))[0].definition

    assert definition(SLO) == definition(f'{SLO}objective = "90%"')
    assert definition(SLO) != definition(SLO.replace("1s", "2s"))


def test_a_rate_of_burning_is_met_exactly_at_its_number_of_bad_probes() -> None:
    page = PACES[0]
    five = Counts(0, 5)
    assert [page.burns(0.99, Counts(1_000 - bad, bad), five) for bad in (143, 144)] == [False, True]
    assert page.burns(0.99, Counts(0, 2), Counts(0, 2)) is None, "two bad probes are too few, for its end, too"
    assert page.burns(0.99, Counts(0, 9), Counts(0, 0)) is None, "no probe says that it still burns"
    assert Counts(97, 3).budget_left(0.99) == pytest.approx(-2)
    assert Counts(0, 0).budget_left(0.99) == 1


def test_maintenance_is_once_or_every_week_or_every_day_in_utc() -> None:
    def at(day: int, hour: int, minute: int = 0) -> float:
        return datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp()

    once = Maintenance(begins=datetime(2026, 11, 27, 22, tzinfo=UTC), ends=datetime(2026, 11, 28, 1, tzinfo=UTC))
    assert [covers([once], "eu", at(*when)) for when in ((27, 21, 59), (27, 22), (28, 0), (28, 1))] == [0, 1, 1, 0]
    sunday = Maintenance(day="sun", at="23:00", lasts=Duration.parse("2h"), targets=("eu",))  # 29 November
    assert [covers([sunday], "eu", at(*when)) for when in ((29, 22), (29, 23), (30, 0), (30, 1))] == [0, 1, 1, 0]
    assert not covers([sunday], "us", at(29, 23))
    daily = Maintenance(day="every", at="02:30", lasts=Duration.parse("1h"))
    assert [covers([daily], "eu", at(27, *when)) for when in ((2, 29), (2, 30), (3, 29), (3, 30))] == [0, 1, 1, 0]


def test_a_share_is_written_as_a_percentage_or_a_number() -> None:
    assert Share.parse("99.5%") == Share.parse(0.995) == 0.995
    assert str(Share.parse("99.95 %")) == "99.95 %"
    with pytest.raises(ValueError, match="is not a share"):
        Share.parse(True)
