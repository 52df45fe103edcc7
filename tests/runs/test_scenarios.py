"""The shipped scenarios answer what they say they do: short runs against the reference server, and their record."""

import ast
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive import network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients import Question, Site
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.prompts import Prompt, conversation, handbook, load
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Kind, Outcome, StreamObservation
from tests.support.command import FAILED, command, invoke, rows
from tests.support.hostile import IDENTITY
from tests.support.reference import ReferenceServer, reference_server

REPOSITORY = Path(__file__).parents[2]
SCENARIOS = sorted((REPOSITORY / "scenarios").glob("[a-z]*.py"))
PREFILL = 200_000  # ns for each token of a prompt
README = (REPOSITORY / "scenarios/README.md").read_text()


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(
        "--preset", "exact", "--ttft", "50ms", "--itl", "10ms", "--tokens", "40", "--prefill", f"{PREFILL // 1000}us"
    ) as running:
        yield running


def ask(server: ReferenceServer, prompt: Prompt, protocol: ProtocolName = "anthropic_messages") -> StreamObservation:
    site = Site.of(server.url, Target(protocol=protocol), RunClock.starting_at(time.time_ns()))
    person = WireClient(site)
    try:
        road = network.Link(network.find("direct"), 1)
        return person.stream(Question(prompt, Plan(), road, time.monotonic_ns(), IDENTITY)).observation
    finally:
        person.close()


def run(server: ReferenceServer, scenario: str, seconds: int, folder: Path, *more: str) -> dict[str, Any]:
    """The result of a short run. Parts are by (key, value)."""
    ended = command(
        "streamgauge", "run", scenario, "--host", server.url, "--db", "run.db", "--run-time", f"{seconds}s",
        "--json", "run.json", "--inconclusive", "pass", *more,
        cwd=folder,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    found["parts"] = {(part["key"], part["value"]): part for part in found["parts"]}
    return found


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_says_which_question_it_answers(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "?" in said.split("\n\n")[0]
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_no_class_of_a_scenario_does_what_its_base_does_beside_its_own(path: Path) -> None:
    """Locust adds a class's tasks to those of its base, also where they have the same name."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    busy = {
        one.name
        for one in classes
        if any(isinstance(part, ast.FunctionDef) and part.decorator_list for part in one.body)
    }
    for one in classes:
        assert one.name not in busy or not busy & {base.id for base in one.bases if isinstance(base, ast.Name)}


SHAPED = ("noisy_neighbour", "soak", "spike", "steps")
ELSEWHERE = ("chat", "mixed")  # test_run.py; their classes have the names of others', which one Locust does not take
TOGETHER = [path for path in SCENARIOS if path.stem not in {*SHAPED, *ELSEWHERE}]


@pytest.fixture(scope="module")
def crowd(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """One Locust with all scenarios that have no shape: the streams of each class of users, and how many failed."""
    folder = tmp_path_factory.mktemp("crowd")
    ended = command(
        "locust", "-f", ",".join(map(str, TOGETHER)), "--headless", "-u", 60, "-r", 60, "-t", "4s", "-H", server.url,
        "--gauge-db", "run.db",
        cwd=folder,
    )  # fmt: skip
    assert ended.returncode in {0, 3}, ended.stderr
    found = rows(folder / "run.db", f"SELECT user, count(*), sum({FAILED}) FROM streams GROUP BY user")
    return {user: (begun, failed) for user, begun, failed in found}


@pytest.mark.xdist_group("crowd")
@pytest.mark.parametrize("path", TOGETHER, ids=lambda path: path.stem)
def test_every_scenario_runs(path: Path, crowd: dict[str, tuple[int, int]]) -> None:
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    users = [one.name for one in classes if "abstract = True" not in ast.unparse(one)]
    assert users
    for user in users:
        begun, failed = crowd[user]
        assert (begun > 0, failed) == (True, 0), user


@pytest.mark.parametrize("name", SHAPED)
def test_every_scenario_with_a_shape_runs_and_without_rules_is_no_pass(
    name: str, server: ReferenceServer, tmp_path: Path
) -> None:
    words = ("streamgauge", "run", name, "--host", server.url, "--run-time", "3s", "--db", "run.db")
    ended = command(*words, cwd=tmp_path)
    assert ended.returncode == 3, ended.stderr
    ((begun, failed),) = rows(tmp_path / "run.db", f"SELECT count(*), sum({FAILED}) FROM streams")
    assert (begun > 0, failed) == (True, 0)


def test_the_help_of_run_names_every_scenario_and_no_other() -> None:
    said = invoke("run", "--help").stdout
    names = " ".join(said.split()).partition("by its name: ")[2].partition(". scenarios/README.md")[0]
    assert re.findall(r"\w+", names.replace(" or ", ", ")) == [path.stem for path in SCENARIOS]


def test_the_readme_has_every_scenario_and_no_other() -> None:
    assert sorted(re.findall(r"^\| \[`(\w+)`\]\(\1\.py\)", README, re.MULTILINE)) == [path.stem for path in SCENARIOS]


@pytest.mark.parametrize("protocol", ["anthropic_messages", "plain_sse"])
def test_a_tool_that_the_server_runs_is_a_pause_as_long_as_its_run(
    server: ReferenceServer, protocol: ProtocolName
) -> None:
    seen = ask(server, Prompt((("user", "Will it rise?"),), tools=("forecast",)), protocol)
    assert (seen.outcome, seen.stop_reason) == (Outcome.COMPLETED, "end_turn")
    kinds = [chunk.kind for chunk in seen.chunks if chunk.kind in {Kind.TEXT, Kind.TOOL}]
    assert kinds[0] is Kind.TEXT
    assert Kind.TOOL in kinds
    assert kinds[-1] is Kind.TEXT
    assert seen.tool_pause is not None
    assert seen.tool_pause >= 200_000_000 + 50_000_000, "the tool's deadline, and the model's next start"
    assert seen.ended_at - seen.due_at > seen.tool_pause


def test_a_tool_that_the_client_is_to_run_ends_the_answer_with_its_call(server: ReferenceServer) -> None:
    seen = ask(server, Prompt((("user", "Will it rise?"),), tools=("forecast",)), "openai_chat")
    assert (seen.outcome, seen.stop_reason, seen.tool_pause) == (Outcome.COMPLETED, "tool_calls", None)
    assert [chunk.kind for chunk in seen.chunks if chunk.kind in {Kind.TEXT, Kind.TOOL}][-1] is Kind.TOOL


def test_the_second_who_asks_behind_a_marked_system_prompt_finds_it_in_the_cache(server: ReferenceServer) -> None:
    prompt = Prompt((("user", "How high is it at Crane Ford?"),), system=f"{handbook()} Thank you.", cached=True)
    first, second = ask(server, prompt), ask(server, prompt)
    assert first.cache_read_tokens == 0
    assert first.cache_write_tokens == second.cache_read_tokens
    assert second.cache_read_tokens is not None
    assert second.cache_read_tokens > 2_000
    assert second.cache_write_tokens == 0


def test_each_turn_of_a_conversation_finds_what_the_one_before_left_in_the_cache(server: ReferenceServer) -> None:
    system = f"{handbook()} Good luck."
    turns = [replace(turn, system=system) for turn in conversation(load("medium"), Random(1), (4, 4))]
    seen = [ask(server, turn) for turn in turns]
    assert [one.outcome for one in seen] == [Outcome.COMPLETED] * 4
    left = [(one.cache_read_tokens or 0) + (one.cache_write_tokens or 0) for one in seen]
    assert [one.cache_read_tokens for one in seen] == [0, *left[:-1]]
    assert left == sorted(set(left)), "each left more"


def test_cached_prompts_tells_what_a_warm_prefix_saves(server: ReferenceServer, tmp_path: Path) -> None:
    found = run(server, "cached_prompts", 6, tmp_path, "--users", "8", "--spawn-rate", "8")
    hit, miss = (found["parts"]["cache", which]["ttft"] for which in ("hit", "miss"))
    assert miss["p50"] > 50 + len(handbook()) / 4 * PREFILL / 1e6, "the model reads four characters as a token"
    assert hit["p50"] < miss["p50"]
    assert 0 < found["metrics"]["cache_hit_rate"]["value"] < 1
    assert found["parts"]["user", "Cold"]["ttft"]["p50"] > hit["p50"]


def test_noisy_neighbour_has_both_phases_side_by_side(server: ReferenceServer, tmp_path: Path) -> None:
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
        assert phases[phase]["itl"]["n"] > 300
    assert found["parts"]["user", "Stalled"]["outcomes"]
