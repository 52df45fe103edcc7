"""Keys of a config are changed, and all the rest of the file stays as it was."""

from pathlib import Path

import pytest

from streamgauge.harness.commands import budget
from streamgauge.harness.config import edit
from streamgauge.harness.config.load import load
from streamgauge.harness.errors import ConfigError

VALUES = {"metrics": ["p50(ttft)"], "margin": 0.07, "run_time": "55s", "first_runs": 2, "fresh_runs": 3}
BEFORE = """\
# The team's own words.
[regression]   # gate
window = 30
margin = 0.05  # five percent
metrics = [
  "p95(ttft)",   # people
]

[[sla]]
rule = "p95(ttft) < 1s"

[target]       # last, as we like it
model = "m"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "streamgauge.toml"
    path.write_text(BEFORE)
    return path


def test_comments_order_and_other_keys_stay(file: Path) -> None:
    edit.write(file, edit.changed(file, "regression", VALUES))
    after = file.read_text()
    kept = (
        "# The team's own words.",
        "[regression]   # gate",
        "window = 30",
        "# five percent",
        "# last, as we like it",
    )
    assert all(words in after for words in kept)
    assert after.index("[regression]") < after.index("[[sla]]") < after.index("[target]")
    assert after.endswith(BEFORE[BEFORE.index("[[sla]]") :])
    found = load(file).regression
    assert (found.metrics, found.margin, found.window, found.first_runs) == (("p50(ttft)",), 0.07, 30, 2)
    assert str(found.run_time) == "55s"


@pytest.mark.parametrize(
    "before",
    [
        "",
        '[target]\nmodel = "m"',
        '# [regression]\n# margin = 0.1\n\n[[sla]]\nrule = "p95(ttft) < 1s"\n',
        "regression = { margin = 0.2 }\n",
        "regression.margin = 0.2\n[load]\n",
        '[target]\r\nmodel = "m"\r\n',
    ],
)
def test_a_table_is_changed_however_it_is_written_or_added(file: Path, before: str) -> None:
    file.write_text(before, newline="")
    edit.write(file, edit.changed(file, "regression", VALUES))
    assert load(file).regression.margin == 0.07
    assert [line for line in before.splitlines() if line.startswith("#")] == [
        line for line in file.read_text().splitlines() if line.startswith("#")
    ]


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    edit.write(path, edit.changed(path, "regression", VALUES))
    assert load(path).regression.fresh_runs == 3


def test_a_file_keeps_its_permissions_and_a_link_its_target(file: Path, tmp_path: Path) -> None:
    file.chmod(0o600)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    edit.write(link, edit.changed(link, "regression", VALUES))
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "0.07" in file.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.toml", "streamgauge.toml"]


@pytest.mark.parametrize(
    ("before", "values"), [("[regression\n", VALUES), ("[nothing]\n", VALUES), ("", {"margin": -1})]
)
def test_what_is_no_config_is_not_touched(file: Path, before: str, values: dict[str, object]) -> None:
    file.write_text(before)
    with pytest.raises(ConfigError):
        edit.changed(file, "regression", values)
    assert file.read_text() == before


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/a\.toml: cannot be written: .*nowhere is missing"):
        edit.write(tmp_path / "nowhere" / "a.toml", "")


def test_a_link_to_itself_is_one_line_before_the_runs(tmp_path: Path) -> None:
    link = tmp_path / "loop.toml"
    link.symlink_to(link)
    with pytest.raises(ConfigError, match=r"loop\.toml: is a link that leads to itself"):
        budget.check_write(str(link))
    with pytest.raises(ConfigError, match="nowhere is missing or takes no new file"):
        budget.check_write(str(tmp_path / "nowhere" / "a.toml"))


def test_a_file_with_lines_that_end_in_crlf_stays_one(file: Path) -> None:
    before = '# ours\r\n[regression]\r\nmargin = 0.1 # keep\r\n\r\n[target]\r\nmodel = "m"\r\n'
    file.write_text(before, newline="")
    edit.write(file, edit.changed(file, "regression", VALUES))
    lines = file.read_bytes().split(b"\n")
    assert all(line.endswith(b"\r") for line in lines[:-1])
    assert b"margin = 0.07 # keep\r" in lines
