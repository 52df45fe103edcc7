"""The report in a real browser: what folds, sorts, switches, plays and prints, also without a mouse."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from streamgauge.harness.judge.compare import history
from streamgauge.harness.monitor.status import Reader
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.reports import status_page, trend
from tests.browser.charts import open_whole
from tests.browser.window import resize
from tests.support import npm
from tests.support.monitored import EVERY, START, with_an_outage
from tests.support.record import a_run, new_store, observation, ttfts
from tests.support.report_page import mixed, rendered

AXE = "4.14.1"


def streams() -> list[StreamObservation]:
    """Those of `mixed`, and a few that stalled; streams 401 to 405."""
    stalled = [observation([("text", 250), ("text", 900 + 100 * at)], due=at * 900, user="Reader") for at in range(5)]
    return [*mixed(), *stalled]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    html, _ = rendered(folder / "run.db", streams(), "p95(ttft) < 400ms", "error_rate < 50%")
    made = folder / "page.html"
    made.write_text(html)
    return made


@pytest.fixture
def report(page: Page, path: Path) -> Page:
    page.goto(path.as_uri())
    return page


@pytest.fixture
def whole(page: Page, path: Path) -> Page:
    open_whole(page, path)
    return page


@pytest.fixture(scope="module")
def axe() -> str:
    return (npm.installed("axe-core", AXE, "AXE") / "axe-core" / "axe.min.js").read_text("utf-8")


def fact(page: Page, name: str) -> Locator:
    return page.locator(".facts div", has_text=name).locator("b")


def drawn(page: Page) -> Locator:
    return page.locator("#latency .chart .main-svg").first


def test_a_term_is_explained_and_a_chart_tells_its_values(whole: Page) -> None:
    whole.get_by_role("button", name="TTFT").first.click()
    expect(whole.locator("#term-ttft")).to_be_visible()
    whole.keyboard.press("Escape")
    expect(whole.locator("#term-ttft")).to_be_hidden()
    whole.locator("#latency").scroll_into_view_if_needed()
    expect(drawn(whole)).to_be_visible()
    whole.locator("#latency .chart .points path").first.hover(force=True)
    expect(whole.locator("#latency .hovertext").first).to_contain_text("ms")


def test_one_key_opens_a_table_and_one_button_all(report: Page) -> None:
    table = report.locator("#latency details").first
    table.locator("summary").focus()
    report.keyboard.press("Enter")
    expect(table.locator("table")).to_be_visible()
    report.get_by_role("button", name="Show all tables").click()
    expect(report.locator("main .tables > details:not([open])")).to_have_count(0)
    report.get_by_role("button", name="Fold all tables").click()
    expect(report.locator("main .tables > details[open]")).to_have_count(0)
    assert report.locator(".stream[open]").count() == 0, "a stream is no table"


def test_dates_and_commits_are_sorted_as_text(page: Page, tmp_path: Path) -> None:
    """Both begin with a number, and are none: 2026-11-24 is not 2026, and 9e0a59f is not 9."""
    commits = {"10b2222": "2026-11-24", "9e0a59f": "2026-11-26", "3e8a59f": "2026-11-23"}
    with new_store(tmp_path / "runs.db") as store:
        for commit, day in commits.items():
            store.start_run(a_run(id=commit, started_at=f"{day}T09:00:00+00:00", labels={"commit": commit}))
            store.append(commit, ttfts(range(100, 120)))
            store.finish_run(commit, ended_ns=10**10, status="finished")
        (tmp_path / "page.html").write_text(trend.render(history.read(store)))
    page.goto((tmp_path / "page.html").as_uri())
    table = page.locator("#runs .tables > details")
    table.locator("summary").click()
    by_day = sorted(commits, key=lambda commit: commits[commit])
    for name, expected in (("Started", by_day), ("Commit", sorted(commits))):
        table.get_by_role("columnheader", name=name).get_by_role("button").first.click()
        rows = table.locator("tbody tr").all_inner_texts()
        assert [next(commit for commit in commits if commit in row) for row in rows] == expected, name


def test_the_table_of_streams_is_sorted_and_searched(report: Page) -> None:
    table = report.locator("#streams .tables > details")
    table.locator("summary").click()
    head = table.get_by_role("columnheader", name="TTFT")
    rows = table.locator("tbody tr")

    def ttfts() -> list[float]:
        shown = rows.locator("td:nth-of-type(5)").all_inner_texts()
        known = [text.replace(",", "").split() for text in shown if text != "–"]
        return [float(number) * (1_000 if unit == "s" else 1) for number, unit in known]

    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    up = ttfts()
    assert up == sorted(up)
    assert len(set(up)) > 1
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert ttfts() == sorted(up, reverse=True)
    outcomes = table.locator("tbody tr:visible td:nth-of-type(4)")
    expect(outcomes.get_by_text("completed").first).to_be_visible()
    table.get_by_role("searchbox").fill("refused")
    expect(outcomes.get_by_text("completed")).to_have_count(0)
    assert set(outcomes.all_inner_texts()) == {"refused"}


def test_a_phone_shows_the_figures_right_below_their_choice_and_then_the_answers(report: Page) -> None:
    resize(report, 390, 844)
    assert report.locator(".answers > div > dt").count() == 2

    def ends(selector: str) -> tuple[float, float]:
        box = report.locator(selector).first.bounding_box()
        assert box is not None
        return box["y"], box["y"] + box["height"]

    (_, choice), (begin, facts), (answers, _) = ends("#part"), ends(".facts"), ends(".answers")
    assert choice <= begin <= choice + 100, "the choice stands right above the figures that it switches"
    assert facts <= answers


def test_a_choice_of_streams_switches_the_figures_and_back(report: Page) -> None:
    p95, line = fact(report, "P95 TTFT"), report.locator(".course")
    whole, course = p95.inner_text(), line.get_attribute("aria-label") or ""
    choice = report.get_by_label("Figures of")
    choice.select_option(label="slow_4g")
    expect(p95).not_to_have_text(whole, use_inner_text=True)
    expect(line).not_to_have_attribute("aria-label", course)
    expect(report.get_by_role("status").first).to_contain_text("Only network slow_4g: 195 of 405 streams.")
    expect(report.get_by_role("table", name="Percentiles of Network slow_4g")).to_be_visible()
    choice.focus()
    report.keyboard.press("Home")
    expect(p95).to_have_text(whole, use_inner_text=True)
    expect(line).to_have_attribute("aria-label", course)


def test_a_link_opens_its_stream(page: Page, path: Path) -> None:
    page.goto(f"{path.as_uri()}#stream=403")
    opened = page.locator("details.stream[open]")
    expect(opened).to_have_count(1)
    expect(opened).to_be_in_viewport()
    expect(opened.locator(".reading")).to_be_visible()
    assert opened.get_by_role("link", name="Link to this stream").get_attribute("href") == "#stream=403"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the replay of answers that last six seconds."""
    folder = tmp_path_factory.mktemp("answers")
    html, _ = rendered(folder / "run.db", [observation([("text", 1000 + 500 * at) for at in range(11)])] * 3)
    made = folder / "page.html"
    made.write_text(html)
    return made


def test_an_answer_is_played_paused_and_sought(stopped: Page, answers: Path) -> None:
    stopped.goto(answers.as_uri())
    player = stopped.locator(".replay")
    blocks, clock, seek = player.locator(".screen .came"), player.locator("output"), player.get_by_role("slider")
    play, pause = player.get_by_role("button", name="Play"), player.get_by_role("button", name="Pause")
    seek.fill("1000")
    expect(clock).to_have_text("6.0 s")
    whole = blocks.count()
    seek.fill("0")
    expect(blocks).to_have_count(0)
    play.focus()
    stopped.keyboard.press("Space")
    expect(pause).to_be_visible()
    stopped.clock.run_for(2_000)
    expect(clock).to_have_text("2.0 s")
    assert 0 < blocks.count() < whole
    pause.click()
    expect(play).to_be_visible()
    stopped.clock.run_for(10_000)
    expect(clock).to_have_text("2.0 s")
    seek.fill("0")
    player.get_by_label("4×").check()
    play.click()
    stopped.clock.run_for(760)  # the last frame is up to 16 ms ago, which count as 64
    expect(clock).to_have_text("3.0 s")
    expect(pause).to_be_visible()
    stopped.clock.run_for(10_000)
    expect(play).to_be_visible()  # at its end
    expect(clock).to_have_text("6.0 s")
    expect(blocks).to_have_count(whole)


def test_who_wants_less_motion_sees_steps(stopped: Page, answers: Path) -> None:
    stopped.emulate_media(reduced_motion="reduce")
    stopped.goto(answers.as_uri())
    clock, play = stopped.locator(".replay output"), stopped.get_by_role("button", name="Play")
    play.click()
    stopped.clock.run_for(999)
    expect(clock).to_have_text("0.0 s")
    stopped.clock.run_for(1)
    expect(clock).to_have_text("1.0 s")
    stopped.clock.run_for(10_000)
    expect(play).to_be_visible()  # at its end
    expect(clock).to_have_text("6.0 s")


def test_paper_has_every_table_and_the_choice(report: Page, tmp_path: Path) -> None:
    report.get_by_label("Figures of").select_option(label="slow_4g")
    folded = "document.querySelectorAll('details:not([open])').length"
    blank = "document.querySelectorAll('.chart:not(:has(.main-svg))').length"
    seen = f"window.foldedOnPaper = {folded}; window.blankOnPaper = {blank};"
    report.evaluate(f"addEventListener('beforeprint', () => {{ {seen} }})")
    assert report.evaluate(blank) > 0, "no chart far below the window is drawn yet"
    before = report.evaluate(folded)
    report.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert report.evaluate("[window.foldedOnPaper, window.blankOnPaper]") == [0, 0]
    report.wait_for_function(f"(before) => {folded} === before", arg=before)
    report.emulate_media(media="print")
    expect(report.locator(".chosen")).to_contain_text("Only network slow_4g")
    expect(report.locator("nav")).to_be_hidden()


def test_nothing_is_wider_than_the_window(whole: Page) -> None:
    whole.get_by_role("button", name="Show all tables").click()
    for width in (360, 1280, 3840):
        resize(whole, width, 900)
        beyond = whole.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (width, beyond) == (width, 0)
        assert whole.locator("main").evaluate("(main) => main.clientWidth") > 0.6 * min(width, 2400)


def test_axe_finds_nothing_light_or_dark(whole: Page, axe: str) -> None:
    whole.get_by_role("button", name="Show all tables").click()
    whole.locator("details.stream summary").first.click()
    whole.evaluate(_KEEP_A_FEW_OF_EACH)
    whole.evaluate(axe)
    everything = "{ resultTypes: ['violations'] }"
    only_colours = "{ resultTypes: ['violations'], runOnly: ['color-contrast'] }"  # in the dark nothing else differs
    assert _violations(whole, everything) == []
    whole.emulate_media(color_scheme="dark")
    assert _violations(whole, only_colours) == []


def test_axe_finds_nothing_on_a_monitors_page(page: Page, axe: str, tmp_path: Path) -> None:
    monitored = with_an_outage(tmp_path / "monitor.db")
    html = status_page.render(Reader(monitored.store).read(START + 141 * EVERY))
    (tmp_path / "status.html").write_text(html)
    page.goto((tmp_path / "status.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate(axe)
    assert _violations(page, "{ resultTypes: ['violations'] }") == []


# axe judges each row of a table and each mark of a chart for itself: hundreds of equal ones take most of its time.
_KEEP_A_FEW_OF_EACH = """() => {
  for (const each of ["tbody tr", ".points path"])
    document.querySelectorAll(`${each}:nth-child(n + 6):nth-last-child(n + 6)`).forEach((one) => one.remove());
}"""


def _violations(report: Page, options: str) -> list[tuple[str, str, str]]:
    found = report.evaluate(f"axe.run({options}).then(({{ violations }}) => violations)")
    return [(each["id"], each["help"], each["nodes"][0]["html"][:200]) for each in found]
