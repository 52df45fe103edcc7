"""Files that a user names: what is none must neither be waited for nor read into memory."""

import contextlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.config import credentials
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Credentials, Load
from streamgauge.harness.drive import prompts
from streamgauge.harness.drive.network.trace import Trace
from streamgauge.harness.drive.schedule import find
from streamgauge.harness.errors import BaselineError, ConfigError, ScenarioError, StoreError, StreamgaugeError
from streamgauge.harness.judge.compare import baseline_file
from streamgauge.harness.judge.store import Store
from tests.support.command import invoke
from tests.support.record import a_run, database, ttfts


def no_file(place: Path, kind: str) -> Path:
    """Something with a name that is no file to read: it never ends, never begins, or is too large."""
    path = place / "given"
    match kind:
        case "device":
            return Path("/dev/zero")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(place):
                bound.bind(path.name)
        case "folder":
            path.mkdir()
        case "huge":
            with path.open("wb") as file:
                file.truncate(2**40)  # without taking any of it
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("device", "it is no regular file"),
        ("pipe", "it is no regular file"),
        ("socket", "it is no regular file"),
        ("folder", "Is a directory"),
        ("huge", "it is larger than .* MiB"),
    ],
)
@pytest.mark.parametrize(
    ("read", "error"),
    [
        (load, ConfigError),
        (lambda path: credentials.load(Credentials(file=path)), ConfigError),
        (baseline_file.read, BaselineError),
        (prompts.load, ScenarioError),
        (Trace.read, ScenarioError),
        (lambda path: find(Load(arrivals=f"file:{path}")), ScenarioError),
        (lambda path: invoke("try", "--from", path), None),
    ],
)
def test_what_is_no_file_to_read_is_neither_waited_for_nor_read_into_memory(
    read: Callable[[str], Any], error: type[StreamgaugeError] | None, kind: str, words: str, tmp_path: Path
) -> None:
    given = str(no_file(tmp_path, kind))
    if error is None:
        ended = read(given)
        assert ended.exit_code == 2
        assert len(ended.stderr.splitlines()) == 1
        assert re.search(f"{given}: cannot be read: {words}", ended.stderr)
        return
    with pytest.raises(error, match=f"{given}: cannot be read: {words}") as raised:
        read(given)
    assert len(str(raised.value).splitlines()) == 1


def test_a_name_that_no_file_can_have_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="its name holds a NUL"):
        credentials.load(Credentials(file="a\0b"))


@pytest.mark.parametrize("kind", ["device", "pipe", "socket", "folder"])
def test_what_is_no_file_is_no_database(kind: str, tmp_path: Path) -> None:
    path = no_file(tmp_path, kind)
    for use in (Store.open, Store.create):
        with pytest.raises(StoreError, match="it is no regular file"):
            use(path)


@pytest.mark.parametrize("lost", [1, 5_000, 16_384, 40_000])
def test_a_database_that_was_cut_off_is_not_judged(lost: int, tmp_path: Path) -> None:
    """SQLite itself takes zeros for what is lost of a page, and would find fewer streams."""
    path = database(tmp_path / "run.db", ttfts(range(1, 101)))
    whole = path.stat().st_size
    os.truncate(path, whole - lost)
    for use in (Store.open, Store.create):
        with pytest.raises(StoreError, match=f"is cut off: {whole - lost:,} of its {whole:,} bytes are there"):
            use(path)


def test_a_database_whose_log_completes_it_is_whole(tmp_path: Path) -> None:
    path = database(tmp_path / "run.db", ttfts(range(1, 101)))
    with Store.create(path) as other:
        other.start_run(a_run(id="another"))  # which stays in the log while it is open
        copy = tmp_path / "copy.db"
        for end in ("", "-wal"):
            Path(f"{copy}{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    os.truncate(copy, copy.stat().st_size - 1)  # as if a process was killed while it brought the log into the file
    alone = tmp_path / "alone.db"
    alone.write_bytes(copy.read_bytes())
    with pytest.raises(StoreError, match="is cut off"):
        Store.open(alone)
    with Store.open(copy) as whole:
        assert [run.id for run in whole.runs()][-1] == "another"


def test_a_config_that_is_there_and_no_file_is_not_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "streamgauge.toml")
    with contextlib.chdir(tmp_path), pytest.raises(ConfigError, match="it is no regular file"):
        load()
