"""Incidents: that they begin and end at the minutes that the arithmetic says, once each."""

import numpy as np
import pytest

from streamgauge.harness.monitor import incidents
from streamgauge.harness.monitor.levels import levels
from tests.support.monitoring import START, Monitor, Told, config, expected, outages

SLO = '[[slo]]\nname = "first token"\ngood = "ttft < 1.5s"\n'
DAY = 1_440  # minutes
REGIONS = "".join(
    f'[[monitor.target]]\nname = "{name}"\nhost = "http://{name}.example"\nlabels = {{ region = "{name[:2]}" }}\n'
    for name in ("eu-1", "us-1", "ap-1")
)


def run(monitor: Monitor, bad: "np.typing.NDArray[np.bool_]") -> None:
    for minute, is_bad in enumerate(bad.tolist()):
        monitor.minute(minute, [("eu", not is_bad)])


def test_ninety_days_of_probes_alert_at_the_minutes_that_the_arithmetic_says_and_once_each() -> None:
    monitor = Monitor(config(SLO))
    bad = outages(
        90 * DAY,
        [(10 * DAY, 10 * DAY + 12), (21 * DAY - 90, 21 * DAY + 90), (40 * DAY, 40 * DAY + 1), (60 * DAY, 60 * DAY + 2)],
    )
    bad[70 * DAY : 80 * DAY : 50] = True  # every fiftieth probe for ten days: a slow burn
    for day in range(90):
        for minute in range(day * DAY, (day + 1) * DAY):
            monitor.probe(minute * 60 + 30, "eu", not bad[minute])
        monitor.watch.advance(START + minute)  # how often it is evaluated changes nothing
        monitor.watch.save()
        monitor.watch.thin()
        if day % 20 == 0:  # in the midst of an outage, too
            monitor.start(START + minute)
    assert sorted(monitor.told, key=lambda each: (each.minute, each.severity)) == expected(bad, 0.99)
    # The same by hand. An outage of 12 min: 9 of 60 probes are 15 % bad, and 14.4 % are needed. The five minutes after
    # it must be good before the last five are.
    of_outage = [each for each in monitor.told if 10 * DAY <= each.minute < 11 * DAY]
    assert of_outage == [Told("firing", "page", 10 * DAY + 9), Told("resolved", "page", 10 * DAY + 17)]
    assert not [each for each in monitor.told if 40 * DAY <= each.minute < 70 * DAY], "of one or two bad probes"
    assert len({(alert.key, alert.status) for alert in monitor.alerts}) == len(monitor.alerts)
    began = {alert.key for alert in monitor.alerts if alert.status == "firing"}
    assert began == {alert.key for alert in monitor.alerts if alert.status == "resolved"}
    rows = monitor.connection.execute("SELECT count(*) FROM monitor_counts").fetchone()[0]
    assert rows < 4 * DAY + 31 * 24 + 2 * DAY, (
        "minutes of four days and hours of the window, and a day until it is thinned"
    )


@pytest.mark.parametrize("failures", [1, 2])
def test_one_or_two_failed_probes_alert_nobody_however_strict_the_objective_is(failures: int) -> None:
    monitor = Monitor(config(f'{SLO}objective = "99.99%"'))
    run(monitor, outages(2 * DAY, [(100, 100 + failures)]))
    assert not monitor.alerts


def test_an_objective_that_burns_at_less_than_the_fastest_pace_still_alerts_when_all_is_bad() -> None:
    monitor = Monitor(config(f'{SLO}objective = "80%"'))
    run(monitor, outages(600, [(300, 600)]))
    assert monitor.told == [Told("firing", "page", 354), Told("firing", "ticket", 375)], "54 of 60 are nine of ten"


def test_three_bad_probes_within_an_hour_are_a_page_of_a_level_that_looks_back_no_further() -> None:
    monitor = Monitor(config(f'[monitor]\nevery = "30m"\n{SLO}window = "1h"'))
    for minute in range(60):
        monitor.minute(minute, [("eu", False)] if minute in {0, 28, 56} else [])
    assert monitor.told == [Told("firing", "page", 57)]


def test_an_incident_does_not_end_because_the_probes_stopped() -> None:
    monitor = Monitor(config(SLO))
    run(monitor, outages(100, [(60, 100)]))
    for minute in range(100, 100 + 5 * DAY):
        monitor.minute(minute, [])
    assert [each.status for each in monitor.told] == ["firing", "firing"]
    for minute in range(100 + 5 * DAY, 110 + 5 * DAY):
        monitor.minute(minute, [("eu", True)])
    assert [each.status for each in monitor.told] == ["firing", "firing", "resolved", "resolved"]


def test_the_plain_rule_alerts_after_so_many_bad_probes_in_a_row_and_resolves_after_so_many_good_ones() -> None:
    monitor = Monitor(config(f"{SLO}failures = 3\nsuccesses = 2"))
    results = [False, False, True, False, False, False, False, True, False, True, True, True]
    for second, good in enumerate(results):
        monitor.probe(second, "eu", good)
        monitor.watch.save()
        monitor.start(START - 1)  # a restart after each probe changes nothing
    assert [(each.status, round(each.minute * 60)) for each in monitor.told] == [("firing", 5), ("resolved", 10)]
    (alert, _) = monitor.alerts
    assert alert.evidence["bad_in_a_row"] == 3
    assert [seen["at"] - START * 60 for seen in alert.evidence["worst"]] == [5, 4, 3, 1, 0], (
        "the newest of the equal ones"
    )


@pytest.mark.parametrize(
    ("probes", "row"), [([True], None), ([True, False, False], None), ([True, False, False, False], 3), ([False], 4)]
)
def test_a_level_that_comes_back_pages_only_after_so_many_bad_probes_in_a_row(
    probes: list[bool], row: int | None
) -> None:
    with_level = config(f"{SLO}failures = 3\nsuccesses = 2")
    monitor = Monitor(with_level)
    for second in range(3):
        monitor.probe(second, "eu", good=False)
    for given in (config('[[slo]]\nname = "other"\ngood = "completed"'), with_level):
        monitor.watch.save()
        monitor.levels = levels(given)
        monitor.start(START - 1)
    monitor.alerts.clear()
    for second, good in enumerate(probes, 10):
        monitor.probe(second, "eu", good)
    assert [alert.evidence["bad_in_a_row"] for alert in monitor.alerts] == ([] if row is None else [row])


@pytest.mark.parametrize("rule", ["failures = 3\nsuccesses = 2", ""])
def test_an_incident_does_not_end_by_bad_probes_after_good_was_changed(rule: str) -> None:
    monitor = Monitor(config(SLO + rule))
    for minute in range(10):
        monitor.minute(minute, [("eu", False)])
    monitor.watch.save()
    monitor.levels = levels(config(f"{SLO}{rule}".replace("1.5s", "1s")))
    monitor.start(START + 9)
    monitor.minute(10, [("eu", False)])
    monitor.minute(11, [("eu", False)])
    assert "resolved" not in [each.status for each in monitor.told]
    for minute in range(12, 60):
        monitor.minute(minute, [("eu", True)])
    assert "resolved" in [each.status for each in monitor.told]


def test_two_of_three_regions_alert_and_one_alone_does_not() -> None:
    monitor = Monitor(config(f'{SLO}regions = "2 of 3"', REGIONS))
    names = ["eu-1", "us-1", "ap-1"]
    for minute in range(200):
        down = {"eu-1"} if 20 <= minute < 150 else set()
        down |= {"us-1"} if 100 <= minute < 150 else set()
        monitor.minute(minute, [(name, name not in down) for name in names])
    assert monitor.told[:2] == [Told("firing", "ticket", 103), Told("firing", "page", 107)], (
        "3 and 7 of so many: 1 % and 6 %"
    )
    assert monitor.alerts[0].target == "2 of 3 regions: eu-1, us-1"
    assert len(monitor.alerts[0].evidence["worst"]) == 5


def test_no_incident_begins_in_maintenance() -> None:
    monitor = Monitor(config(SLO), in_maintenance=lambda _, at: at < (START + 90) * 60)
    run(monitor, outages(120, [(60, 120)]))
    assert [each for each in monitor.told if each.severity == "page"] == [Told("firing", "page", 90)]


def test_an_incident_of_a_level_that_is_gone_ends_when_the_monitor_starts_without_it() -> None:
    monitor = Monitor(config(SLO))
    run(monitor, outages(100, [(60, 100)]))
    monitor.watch.save()
    monitor.levels = Monitor(config('[[slo]]\nname = "other"\ngood = "completed"')).levels
    monitor.start(START + 99)
    assert [each.status for each in monitor.told] == ["firing", "firing", "resolved", "resolved"]
    assert incidents.open_ones(monitor.connection) == ([], [])
    assert all("is not watched any more" in each.main.summary for each in newest(monitor))


def newest(monitor: Monitor) -> list[incidents.Incident]:
    found, damaged = incidents.newest(monitor.connection, 10)
    assert not damaged
    return found


def test_a_page_and_a_ticket_about_the_same_trouble_are_one_incident() -> None:
    monitor = Monitor(config(SLO))
    run(
        monitor, outages(30 * DAY, [(9 * DAY, 9 * DAY + 60), (9 * DAY + 120, 9 * DAY + 180), (20 * DAY, 20 * DAY + 12)])
    )
    short, long = newest(monitor)
    assert [each.severity for each in long.firings] == ["page", "ticket", "page"], "again, while the ticket goes on"
    assert (long.severities, long.main.severity) == (["page", "ticket"], "page")
    assert (long.began, long.ended) == (long.firings[0].began, long.firings[1].ended)
    assert long.ended is not None
    assert long.ended > long.firings[2].began > (long.firings[0].ended or 0)
    assert len({seen.stream for seen in long.worst}) == len(long.worst) == 5
    assert short.severities == ["page"]
    assert short.main.summary == (
        "first token of eu is well again, after 8 min; at its beginning: 9 of 60 probes of the last 1 h were bad, "
        "15.0 times as many as the objective allows"
    )
    assert len({alert.incident for alert in monitor.alerts}) == 2
    assert len({alert.key for alert in monitor.alerts}) == 4
    beside = [(each.severity, each.status, each.beside) for each in monitor.alerts]
    assert beside == [
        ("page", "firing", None), ("ticket", "firing", "page"), ("page", "resolved", "ticket"),
        ("page", "firing", "ticket"), ("page", "resolved", "ticket"), ("ticket", "resolved", None),
        ("page", "firing", None), ("page", "resolved", None),
    ]  # fmt: skip


def test_when_both_severities_end_in_the_same_minute_the_page_is_told_last() -> None:
    monitor = Monitor(config(SLO))
    run(monitor, outages(100, [(60, 100)]))
    for minute in range(100 + 5 * DAY, 110 + 5 * DAY):
        monitor.minute(minute, [("eu", True)])
    (ticket, page) = (each for each in monitor.alerts if each.status == "resolved")
    assert (ticket.severity, ticket.beside, page.severity, page.beside) == ("ticket", "page", "page", None)
    assert ticket.until == page.until


def test_keys_of_incidents_are_never_used_twice() -> None:
    monitor = Monitor(config(f"{SLO}failures = 1\nsuccesses = 1"))
    for second in range(6):
        monitor.probe(second, "eu", second % 2 == 1)
        monitor.connection.execute("DELETE FROM incident_streams")
        monitor.connection.execute("DELETE FROM incidents WHERE ended IS NOT NULL")  # as after 400 days
    keys = [alert.key for alert in monitor.alerts if alert.status == "firing"]
    assert len(set(keys)) == 3
