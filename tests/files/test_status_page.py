"""The status page of a monitor: what it says first, and what stands behind it."""

from pathlib import Path

import pytest

from streamgauge.harness.judge.store.merged import merge
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor.status import Reader, Status
from streamgauge.reports import status_page, trend
from tests.support.monitored import CONFIG, EVERY, START, Monitored, with_an_outage


def read(monitored: Monitored, minute: int) -> Status:
    return Reader(monitored.store).read(START + minute * EVERY)


def head(status: Status) -> str:
    page = status_page.render(status)
    return page[page.index("<header") : page.index("</header>")]


def test_an_open_incident_is_said_first_and_its_streams_are_drawn(tmp_path: Path) -> None:
    status = read(with_an_outage(tmp_path / "m.db"), 141)
    page = status_page.render(status)
    assert 'class="verdict missed' in head(status)
    assert "first token of eu" in head(status)
    worst = status.incidents[-1].worst
    assert worst
    assert all(f'id="stream={seen.stream}"' in page for seen in worst)
    assert "goes on" in page


def test_all_is_well_only_if_probes_were_judged_lately(tmp_path: Path) -> None:
    monitored = Monitored(tmp_path / "m.db")
    assert "no probe yet" in head(read(monitored, 1))
    assert read(monitored.judged(30), 31).watched_at is None, "minutes pass also if nobody probes"
    monitored = Monitored(tmp_path / "o.db")
    monitored.probes([400])
    monitored.judge.round(START + 20)
    assert "all is well" in head(read(monitored, 1)), "the probes of a minute that goes on count, too"
    monitored.probes([400] * 59, first=1)
    monitored.judged(60)
    assert "all is well" in head(read(monitored, 61))
    unseen = Monitored(tmp_path / "n.db", f'{CONFIG}[[slo]]\nname="4g"\ngood="completed"\nwhere={{network="4g"}}')
    unseen.probes([400] * 60)
    assert "partly unknown" in head(read(unseen.judged(60), 61)), "no probe counts in one of the service levels"
    assert "not watching" in head(read(monitored, 90)), "a page that nobody updates is not green"
    assert "eu has not been probed since 2023-03-28 11:40 UTC" in head(read(monitored, 90))
    monitored.judged(90)
    assert "not watching" in head(read(monitored, 91)), "a judge without new probes is not green, either"


def test_budgets_of_one_day_are_bars_and_later_lines(tmp_path: Path) -> None:
    """A line of a single point is a dot that nobody sees."""
    monitored = Monitored(tmp_path / "m.db")
    monitored.probes([400] * 60)
    monitored.judged(60)
    (panel,) = status_page._budgets(read(monitored, 61))
    (bars,) = panel.charts[0].figure.data
    assert (bars.type, bars.text[0]) == ("bar", "100 %")
    assert panel.charts[0].caption == "How much of each error budget is left?"
    days = [(START + day * 86_400.0, None if day < 10 else 0.9) for day in range(14)]
    status = read(monitored, 61)
    later = status._replace(budgets=[(each, days) for each, _ in status.budgets])
    (panel,) = status_page._budgets(later)
    assert [trace.type for trace in panel.charts[0].figure.data] == ["scatter"] * len(status.budgets)
    assert [*panel.charts[0].figure.data[0].y] == [90.0] * 4, "it begins with the first day that is known"


def test_a_budget_that_is_overspent_is_not_well(tmp_path: Path) -> None:
    monitored = Monitored(tmp_path / "m.db")
    monitored.probes([400] * 30 + [2_000] * 2 + [400] * 28)
    status = read(monitored.judged(60), 61)
    assert not status.incidents
    assert "budget spent" in head(status)
    assert "-233 %" in head(status)


def test_a_single_day_has_an_axis_with_ticks_and_is_no_bar_of_the_whole_width(tmp_path: Path) -> None:
    monitored = Monitored(tmp_path / "m.db")
    monitored.probes([400, 410])
    (chart, *_) = trend.by_day([each.day for each in read(monitored.judged(2), 2).days], "probes").charts
    assert chart.figure.layout.yaxis.tickvals == (200, 500, 1000)
    assert chart.figure.layout.xaxis.range == (-0.5, 6.5)


def test_a_day_and_a_window_have_their_shares(tmp_path: Path) -> None:
    status = read(with_an_outage(tmp_path / "m.db"), 141)
    (standing, *_) = status.standings
    assert (standing.in_window.good, standing.in_window.bad) == (120, 20)
    page = status_page.render(status)
    assert "85.71 % of 140" in page
    (day,) = status.days
    assert day.outcomes == {"completed": 139, "refused": 1}
    assert day.tokens == 140 * 50
    assert day.day.p50 == pytest.approx(400, rel=0.02)


def test_a_hostile_name_is_shown_as_text(tmp_path: Path) -> None:
    text = CONFIG.replace('name = "first token"', 'name = "<script>alert(1)</script>"')
    monitored = Monitored(tmp_path / "m.db", text)
    monitored.probes([2_000] * 60)
    page = status_page.render(read(monitored.judged(60), 61))
    assert "<script>alert" not in page


def test_the_page_of_two_regions_needs_no_config(tmp_path: Path) -> None:
    with_an_outage(tmp_path / "eu.db").store.close()
    other = CONFIG.replace('name = "eu"', 'name = "us"')
    us = Monitored(tmp_path / "us.db", other, target="us")
    us.probes([400] * 60)
    us.judged(60).store.close()
    merge([str(tmp_path / "eu.db"), str(tmp_path / "us.db")], str(tmp_path / "both.db"))
    with MonitorStore.open(tmp_path / "both.db") as store:
        status = Reader(store).read(START + 150 * EVERY)
        page = status_page.render(status)
    assert {each.target for each in status.standings} == {"eu", "us"}
    assert "85.71 % of 140" in page
    assert "100.00 % of 60" in page
