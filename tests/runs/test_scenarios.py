"""The shipped scenarios in short runs against the reference server, and their record."""

import ast
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.drive.prompts import handbook
from tests.support.command import FAILED, command, count, enough, rows, running, until, until_told_beside
from tests.support.reference import ReferenceServer, reference_server

REPOSITORY = Path(__file__).parents[2]
SCENARIOS = sorted((REPOSITORY / "scenarios").glob("[a-z]*.py"))
PREFILL = 200_000  # ns for each token of a prompt


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(
        "--preset", "exact", "--ttft", "50ms", "--itl", "10ms", "--tokens", "40", "--prefill", f"{PREFILL // 1000}us"
    ) as running:
        yield running


def run(server: ReferenceServer, scenario: str, seconds: int, folder: Path, *more: str) -> dict[str, Any]:
    """The result of a short run. Parts are by (key, value)."""
    ended = command(
        "streamgauge", "run", scenario, "--host", server.url, "--db", "run.db", "--run-time", f"{seconds}s",
        "--json", "run.json", *more,
        cwd=folder,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr  # without rules, no run passes
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    found["parts"] = {(part["key"], part["value"]): part for part in found["parts"]}
    return found


SHAPED = ("soak", "spike", "steps")
ELSEWHERE = ("chat", "mixed")  # test_run.py; their classes have the names of others', which one Locust does not take
OWN_RUN = ("noisy_neighbour",)  # below; it has a shape, too
TOGETHER = [path for path in SCENARIOS if path.stem not in {*SHAPED, *ELSEWHERE, *OWN_RUN}]


def users_of(path: Path) -> list[str]:
    """The names of a scenario's users."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    return [one.name for one in classes if "abstract = True" not in ast.unparse(one)]


@pytest.fixture(scope="module")
def runs(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the databases of one Locust with all scenarios that have no shape, and of one for each shape."""
    folder = tmp_path_factory.mktemp("runs")
    load = ("-u", 60, "-r", 60)
    files = {"crowd": TOGETHER, **{name: [REPOSITORY / f"scenarios/{name}.py"] for name in SHAPED}}
    told = until_told_beside(folder)
    with contextlib.ExitStack() as stack:
        programs = [
            stack.enter_context(running(
                "locust", "--headless", "-H", server.url, "--gauge-db", f"{name}.db",
                "-f", ",".join(map(str, [*paths, told])), *(load if name == "crowd" else ()),
                cwd=folder,
            ))
            for name, paths in files.items()
        ]  # fmt: skip
        everybody = sum(len(users_of(path)) for path in TOGETHER)
        until(lambda: count(folder / "crowd.db", "(SELECT DISTINCT user FROM streams)") == everybody)
        until(lambda: all(count(folder / f"{name}.db", "streams") for name in SHAPED))
        enough(folder)
        ended = [program.ended() for program in programs]
    assert [one.returncode for one in ended] == [3] * len(ended), "without rules, no run passes"
    return folder


class TestOfAllTogether:
    @pytest.mark.parametrize("path", TOGETHER, ids=lambda path: path.stem)
    def test_every_scenario_runs(self, path: Path, runs: Path) -> None:
        users = users_of(path)
        assert users
        found = rows(runs / "crowd.db", f"SELECT user, count(*), sum({FAILED}) FROM streams GROUP BY user")
        seen = {user: (begun > 0, failed) for user, begun, failed in found}
        assert [seen[user] for user in users] == [(True, 0)] * len(users)

    @pytest.mark.parametrize("name", SHAPED)
    def test_every_scenario_with_a_shape_runs(self, name: str, runs: Path) -> None:
        ((begun, failed),) = rows(runs / f"{name}.db", f"SELECT count(*), sum({FAILED}) FROM streams")
        assert (begun > 0, failed) == (True, 0)


def test_cached_prompts_shows_how_much_a_warm_cache_saves(server: ReferenceServer, tmp_path: Path) -> None:
    found = run(server, "cached_prompts", 6, tmp_path, "--users", "8", "--spawn-rate", "8")
    hit, miss = (found["parts"]["cache", which]["ttft"] for which in ("hit", "miss"))
    assert miss["p50"] > 50 + len(handbook()) / 4 * PREFILL / 1e6, "the model reads four characters as a token"
    assert hit["p50"] < miss["p50"]
    assert 0 < found["metrics"]["cache_hit_rate"]["value"] < 1
    assert found["parts"]["user", "Cold"]["ttft"]["p50"] > hit["p50"]


@pytest.mark.usefixtures("before_others")
def test_noisy_neighbour_reports_both_phases(server: ReferenceServer, tmp_path: Path) -> None:
    text = (REPOSITORY / "scenarios/noisy_neighbour.py").read_text()
    for long, short in (
        ("ALONE = 60.0", "ALONE = 4.0"),
        ("MARGIN = 10.0", "MARGIN = 0.5"),
        ("between(1, 3)", "between(0, 1)"),
    ):
        assert long in text
        text = text.replace(long, short)
    (tmp_path / "street.py").write_text(text)
    found = run(server, "street.py", 9, tmp_path)
    phases = {value: part for (key, value), part in found["parts"].items() if key == "phase"}
    assert set(phases) == {"alone", "between", "beside"}
    for phase in ("alone", "beside"):
        assert phases[phase]["itl"]["n"] > 0
    assert found["parts"]["user", "Stalled"]["outcomes"]
    assert rows(tmp_path / "run.db", f"SELECT sum({FAILED}) FROM streams") == [(0,)]
