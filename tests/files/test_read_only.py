"""Databases that may not be written, by the disk they are on or since they are another user's."""

from pathlib import Path

import pytest

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Store
from tests.support.record import database, observation


def test_a_file_on_a_read_only_disk_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = database(tmp_path / "one.db", [observation()])
    # Tests may run as root, who may write everywhere, so the answer of the system is replaced.
    monkeypatch.setattr("os.access", lambda *_: False)
    with Store.open(path) as store:
        assert [len(streams) for streams in store.streams("run-1")] == [1]
        with pytest.raises(StoreError, match="read-only"):
            store.append("run-1", [observation()])
    assert [path.name for path in tmp_path.iterdir()] == ["one.db"]


def test_a_file_that_another_user_writes_is_read_with_what_is_in_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = database(tmp_path / "one.db", [observation()])
    with Store.create(path) as writer:
        writer.append("run-1", [observation()])
        monkeypatch.setattr("os.access", lambda *_: False)  # as above
        with Store.open(path) as reader:
            assert reader.count("run-1") == 2
