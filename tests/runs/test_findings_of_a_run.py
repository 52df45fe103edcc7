"""Real runs against real servers: the faults have their findings, and no other, with what refusals said."""

import json
from pathlib import Path

from tests.support.command import command, count, ends_after, enough, running, until, until_told
from tests.support.reference import reference_server

# What a run may have beside these: true of a machine that is busy with other tests, or of every server with few slots
# once as many answers are counted as the finding needs.
ALSO_TRUE = {"generator_near_limit", "server_paused", "throughput_limit"}
EVIDENCE = {  # rows that the findings need, and more than how many
    "streams WHERE outcome = 'completed'": 100,
    "streams WHERE http_status = 429": 8,
    "samples WHERE name = 'users' AND value = 30": 0,
}
FULL = ("--preset", "exact", "--ttft", "50ms", "--itl", "5ms", "--tokens", "22", "--max-streams", "2")
TARGET = "[target]\nmax_tokens = 200\n"


def test_a_run_has_the_findings_of_its_server_s_faults(tmp_path: Path) -> None:
    (tmp_path / "hasty.py").write_text(until_told())
    (tmp_path / "target.toml").write_text(TARGET)
    slots = ("--preset", "exact", "--ttft", "50ms", "--itl", "5ms", "--tokens", "22", "--capacity", "5")
    faults = ("--fault", "buffer_time:60ms", "--fault", "http_429:0.15")
    with reference_server(*slots, *faults) as server, running(
        "streamgauge", "run", "hasty.py", "--host", server.url, "--users", 30, "--spawn-rate", 4,
        "--config", "target.toml", "--db", "run.db", "--json", "run.json",
        cwd=tmp_path,
    ) as run:  # fmt: skip
        until(lambda: all(count(tmp_path / "run.db", each) > few for each, few in EVIDENCE.items()))
        enough(tmp_path)
        ended = run.ended()
    told = {finding["id"]: finding for finding in json.loads((tmp_path / "run.json").read_text())["findings"]}
    assert {*told} - ALSO_TRUE == {"queueing", "buffered", "rate_limited"}, ended.stdout
    assert "  rate_limited: " in ended.stdout
    refused = told["rate_limited"]["evidence"][0]
    assert refused["what"] == "streams with HTTP 429"
    assert f"{refused['value']} refused" in ended.stdout


def test_a_run_tells_when_a_full_server_wants_users_back_and_when_they_came(tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(ends_after(200))
    with reference_server(*FULL) as server:
        ended = command(
            "streamgauge", "run", "many.py", "--host", server.url, "--users", 8, "--spawn-rate", 8,
            "--db", "run.db", "--json", "run.json",
            cwd=tmp_path,
        )  # fmt: skip
    told = {finding["id"]: finding for finding in json.loads((tmp_path / "run.json").read_text())["findings"]}
    numbers = {number["what"]: number["value"] for number in told["overloaded"]["evidence"]}
    assert numbers["asked to wait, median"] == 1_000, ended.stdout
    assert numbers["refusals that said how long"] == 1
    assert numbers["asked again after, median"] < 1_000, "these users do not wait"
    assert "the server asked to wait 1 s, and the users asked again after" in told["overloaded"]["sentence"]
