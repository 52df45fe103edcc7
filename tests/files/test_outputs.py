"""A verdict in the formats of CI systems: summaries, annotations, metrics, a badge and a log."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from markdown_it import MarkdownIt
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import OutputError, StoreError
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus, Row
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.outputs import (
    badge,
    dispatch,
    github,
    gitlab,
    json,
    junit,
    kinds,
    markdown,
    save,
    terminal,
)
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import visible
from streamgauge.harness.record.observation import Outcome
from tests.support.record import judged, observation, ttfts
from tests.support.verdicts import GOOD, HOSTILE, SATURATED, case, cells, properties

# Markdown and GitHub


def tokens(judgement: Judgement, most_bytes: int = markdown.MOST_BYTES) -> Iterator[tuple[str, str]]:
    """Type and content of each token of a parser of GitHub's dialect, in which bare URLs become links."""
    reader = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for token in reader.parse(markdown.render(judgement, most_bytes)):
        yield token.type, token.content
        for child in token.children or []:
            yield child.type, child.content


def test_markdown_begins_with_the_verdict_and_lists_the_worst_rules_first(mixed: Judgement) -> None:
    assert markdown.render(mixed).startswith("## ✗ MISSED: 1 of 4 rules missed\n")
    table = cells(mixed)
    assert table[0] == ["", "rule", "streams", "observed", "95 % interval", "n", "why"]
    assert [row[:2] for row in table[1:5]] == [
        ["✗ missed", "p95(ttft) < 500ms"],
        ["? inconclusive", "error_rate < 9%"],
        ["? inconclusive", "p95(ttft) < 4s"],
        ["✓ met", "p50(ttft) < 1s"],
    ]
    assert table[1][3] == "∞"
    assert table[3][6] == "no stream has network '3g'; there are none, slow_4g"
    assert {len(row) for row in table} == {7, 3}


def test_hostile_text_in_markdown_makes_no_markup(hostile: Judgement) -> None:
    found = list(tokens(hostile))
    markup = {"html_inline", "html_block", "strong_open", "em_open", "link_open", "image", "s_open", "fence"}
    assert not markup & {name for name, _ in found}
    assert {len(row) for row in cells(hostile)} == {7, 3}, "no | of theirs began a cell"
    text = "".join(content for name, content in found if name == "text")
    assert "<script>alert(1)</script>" in text
    assert "@everyone" not in text, "a mention is broken up"
    code = [content for name, content in found if name == "code_inline"]
    assert any("`@everyone`" in each for each in code), "and in code it is none"


def test_a_summary_stays_below_githubs_limit_and_is_still_whole_lines(tmp_path: Path) -> None:
    many = [Sla(rule="p95(ttft) < 1s", where=Where(user=f"{number}{HOSTILE * 4}")) for number in range(1_500)]
    found = judged(tmp_path / "many.db", ttfts([1]), *many)
    whole = markdown.render(found)
    assert len(whole.encode()) <= 900_000
    assert whole.startswith("## ? INCONCLUSIVE")
    assert whole.endswith("the rest is left out: it would be too long here.\n")
    everything = markdown.render(found, 10**9).splitlines()
    assert set(whole.splitlines()[:-1]) <= set(everything)
    for most_bytes in (20_000, 23_456):
        assert {len(row) for row in cells(found, most_bytes)} == {7}


def test_at_most_five_annotations_and_what_failed_comes_first(tmp_path: Path) -> None:
    unsure = [Sla(rule="p95(ttft) < 1s", where=Where(network="3g"))] * 6
    found = github.annotations(judged(tmp_path / "one.db", GOOD, *unsure, "max(ttft) < 1ms"))
    assert len(found) == 5
    assert found[0] == "::error title=max(ttft) < 1ms missed::399 ms is a fact of this run, over 300 streams"
    assert {line.partition(" ")[0] for line in found[1:]} == {"::warning"}


def test_annotations_escape_what_the_runner_would_read_as_a_command(hostile: Judgement) -> None:
    for line in github.annotations(hostile):
        assert re.fullmatch(r"::(error|warning) title=[^:,\r\n]*::[^\r\n]*", line)
        assert not re.search(r"%(?!25|3A|2C)", line)
    assert "::error::owned" in github.annotations(hostile)[0], "within a message, where it is text"


def test_a_good_run_needs_no_annotation_and_one_without_rules_does(tmp_path: Path) -> None:
    assert github.annotations(judged(tmp_path / "a.db", GOOD, "max(ttft) < 1s")) == []
    (warning,) = github.annotations(judged(tmp_path / "b.db", GOOD))
    assert warning.startswith("::warning title=chat%3A inconclusive::no SLA rules were given")
    (error,) = github.annotations(judged(tmp_path / "c.db", SATURATED, "max(ttft) < 1s", "max(e2e) < 1s"))
    assert error.startswith("::error title=chat%3A invalid run::the generator was saturated")


def test_summaries_of_several_runs_together_stay_below_githubs_limit(mixed: Judgement, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("x" * 899_000 + "\n")
    for _ in range(3):
        github.write(mixed, {"GITHUB_STEP_SUMMARY": str(summary)})
    assert "## ✗ MISSED" in summary.read_text()
    assert summary.stat().st_size < 901_000


# GitLab


def families(text: str) -> dict[str, Metric]:
    parsed = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # the library's omission
    return {family.name: family for family in parsed}


def test_gitlab_gets_openmetrics_with_names_that_can_be_compared(mixed: Judgement) -> None:
    found = families(gitlab.render(mixed))
    ttft = {sample.labels["quantile"]: sample.value for sample in found["streamgauge_ttft_ms"].samples}
    assert ttft == {"p50": 284, "p95": float("inf"), "p99": float("inf")}
    assert found["streamgauge_error_rate_ratio"].samples[0].value == pytest.approx(30 / 370, rel=1e-5)
    assert {sample.labels["outcome"]: sample.value for sample in found["streamgauge_streams"].samples} == {
        "completed": 340, "refused": 30,
    }  # fmt: skip
    observed = {sample.labels["rule"]: sample.value for sample in found["streamgauge_rule_observed"].samples}
    assert observed["p50(ttft) < 1s"] == 284
    assert "p95(ttft) < 4s" not in observed, "what was not observed is absent"
    assert "run-1" not in gitlab.render(mixed)


def test_hostile_text_in_openmetrics_is_a_label(hostile: Judgement) -> None:
    text = gitlab.render(hostile)
    assert "]]><script>" in families(text)["streamgauge_rule_observed"].samples[0].labels["streams"]
    assert text.count("\n# EOF") == 1
    assert "streamgauge_itl_ms" in text


def test_the_same_rule_twice_is_one_sample(tmp_path: Path) -> None:
    text = gitlab.render(judged(tmp_path / "one.db", GOOD, "max(ttft) < 1s", "max(ttft) < 1s"))
    assert text.count("streamgauge_rule_observed{") == 1


# the badge


def test_a_badge_is_an_svg_that_says_the_verdict_in_words(mixed: Judgement) -> None:
    root = ElementTree.fromstring(badge.render(mixed))
    assert root.attrib["aria-label"] == "chat: ✗ missed · p95 TTFT ∞", "REFUSED streams are infinitely late"
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert [text.text for text in texts] == ["chat", "✗ missed · p95 TTFT ∞"]
    assert float(root.attrib["width"]) == sum(float(text.attrib["textLength"]) + 12 for text in texts)


def luminance(colour: str) -> float:
    """WCAG's relative luminance of #rrggbb."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_white_on_each_colour_of_a_badge_is_legible() -> None:
    for colour in (*(style.badge for style in STYLES.values()), "#444444"):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5  # WCAG AA


def test_hostile_text_in_a_badge_is_text(hostile: Judgement) -> None:
    root = ElementTree.fromstring(badge.render(hostile))
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    assert root.attrib["aria-label"].startswith("]]><script>")


# the terminal, which in CI is a log


def test_hostile_text_in_a_log_is_no_command(hostile: Judgement) -> None:
    for width in (60, 80, 200):
        text = terminal.text(hostile, width)
        assert "⟨U+202E⟩" in text
        assert "::error::" not in text
        assert "\r" not in text


def test_an_address_in_a_log_can_be_copied(tmp_path: Path) -> None:
    assert "http://[::1]:80" in terminal.text(judged(tmp_path / "one.db", GOOD, host="http://[::1]:80"))


# a comparison with a baseline
AGAINST = Comparison(
    baseline=HOSTILE,
    status=GateStatus.REGRESSED,
    reason="1 of 3 metrics regressed",
    rows=[
        Row("p95(ttft)", "ms", GateStatus.REGRESSED, 400, 480, 1.2, Interval(1.15, 1.25), f"worse {HOSTILE}"),
        Row(
            "p95(itl)",
            "ms",
            GateStatus.INCONCLUSIVE,
            20,
            math.inf,
            None,
            Interval(None, None),
            "could hide up to +14 %",
        ),
        Row("error_rate", "ratio", GateStatus.OK, 0.01, 0.01, 0.0, Interval(-0.001, 0.001), "no change"),
    ],
    baseline_runs=["a", "b"],
    first_runs=["c"],
    fresh_runs=["d"],
    notes=(HOSTILE,),
)


def test_a_comparison_can_be_written_in_every_format() -> None:
    root = ElementTree.fromstring(junit.comparison(AGAINST))
    assert [(case(suite).attrib["name"], len(case(suite)) and case(suite)[0].tag) for suite in root] == [
        ("p95(ttft)", "failure"), ("p95(itl)", "skipped"), ("error_rate", 0),
    ]  # fmt: skip
    found = properties(root[0])
    assert (found["against"], found["baseline"], found["change"]) == (visible(HOSTILE), "400", "1.2")
    text = markdown.comparison(AGAINST)
    assert text.startswith("## ✗ REGRESSED: 1 of 3 metrics regressed\n")
    assert "| ✗ regressed | `p95(ttft)` | 400 ms | 480 ms | +20 % | +15 % to +25 % |" in text
    assert "<script>" not in text.replace("\\<script\\>", "").replace("` ]]><script>", "")
    (error, warning) = github.annotations(AGAINST)
    assert re.fullmatch(r"::error title=p95\(ttft\) regressed against [^:,]*::worse .*", error)
    assert warning.startswith("::warning title=p95(itl) inconclusive against")
    samples = families(gitlab.comparison(AGAINST))["streamgauge_compared"].samples
    assert [sample.value for sample in samples] == [400, 480, 20, math.inf, 0.01, 0.01]
    assert "✗ regressed" in ElementTree.fromstring(badge.comparison(AGAINST)).attrib["aria-label"]


def test_a_run_without_streams_has_no_tables_of_figures(tmp_path: Path) -> None:
    shown = terminal.text(judged(tmp_path / "run.db", []))
    assert "outcomes: no streams" in shown
    assert not re.search(r"^(metric|rate) ", shown, re.MULTILINE)


def test_a_comparison_without_rows_does_not_pass() -> None:
    invalid = replace(AGAINST, status=GateStatus.INVALID, reason="the generator was saturated", rows=[])
    (suite,) = ElementTree.fromstring(junit.comparison(invalid))
    assert case(suite)[0].tag == "error"
    assert github.annotations(invalid)[0].startswith("::error title=invalid against")
    unsure = replace(invalid, status=GateStatus.INCONCLUSIVE)
    (suite,) = ElementTree.fromstring(junit.comparison(unsure))
    assert case(suite)[0].tag == "skipped"


# --output


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("junitt=x.xml", "no output called 'junitt'; there are json, junit, gitlab, markdown, badge, text, github"),
        ("junitt=x.xml", "; did you mean 'junit'?"),
        ("junit", "no file is given; write junit=FILE, or junit=- for standard output"),
        ("badge=", "no file is given; write badge=FILE"),
        ("github=x.md", "github takes no file; for a file, write markdown=x.md"),
        ("", "no output called ''"),
    ],
)
def test_a_mistake_in_output_says_what_exists(given: str, expected: str) -> None:
    with pytest.raises(OutputError, match=re.escape(expected)):
        kinds.requested([given], environ={})


def test_an_output_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    for name, said in (("nowhere/run.xml", "there is no folder"), ("", "is a folder")):
        with pytest.raises(OutputError, match=said):
            kinds.requested([f"junit={tmp_path}/{name}"], environ={})
    assert list(tmp_path.iterdir()) == [], "nothing is made"
    for name in ("-", "/dev/null", f"{tmp_path}/run.xml"):
        kinds.requested([f"junit={name}"], environ={})


def test_an_output_that_fails_cancels_no_other_and_each_failure_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judgement = judged(tmp_path / "one.db", GOOD, "max(ttft) < 1s")
    paths = [str(tmp_path / name) for name in ("a/one.json", "two.json", "b/three.json", "four.json")]
    more: list[str] = []
    with pytest.raises(StoreError, match=r"b/three\.json: cannot be written"):
        dispatch.show(judgement, [Output("json", path) for path in paths], [lambda: more.append("report")])
    assert more == ["report"]
    assert {path.name for path in tmp_path.glob("*.json")} == {"two.json", "four.json"}
    told = capsys.readouterr()
    assert told.err == f"streamgauge: {paths[0]}: cannot be written: No such file or directory\n"
    assert "MET" in told.out


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    device = tmp_path / "pipe"
    os.mkfifo(device)
    reader = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    save("<svg/>", device)
    assert os.read(reader, 100) == b"<svg/>"
    os.close(reader)
    assert device.is_fifo()


def test_each_kind_of_output_has_its_format() -> None:
    assert tuple(dispatch.FORMATS) == kinds.FILES


def test_every_output_says_why_streams_failed_the_five_most_frequent_first(tmp_path: Path) -> None:
    """Issue 17, 12: a failed run told only how many failed."""
    streams = [*GOOD]
    for number, word in enumerate(["one", "two", "three", "four", "five", "six", HOSTILE], 1):
        streams += [
            observation([], outcome=Outcome.REFUSED, http_status=500, detail=f"HTTP 500: {word} r{n}", ended=2)
            for n in range(10 - number)
        ]
    result = judged(tmp_path / "one.db", streams, "error_rate < 1%")
    for told in (terminal.text(result, 200), markdown.render(result), junit.render(result)):
        assert "9 refused: HTTP 500: one" in told.replace("\\", "")
        assert "7 otherwise" in told
        assert "six" not in told
        assert told.index("two") < told.index("three")
    found = msgspec.json.decode(json.render(result))["failures"]
    assert [(each["outcome"], each["http_status"], each["n"]) for each in found[:2]] == [
        ("refused", 500, 9),
        ("refused", 500, 8),
    ]
    assert len(found) == 7
