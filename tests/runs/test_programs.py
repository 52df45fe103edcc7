"""Starting other programs: their exit code, our signals afterwards, and a server that is there or says why not."""

import signal
import sys
import urllib.request

import pytest

from streamgauge.harness import programs
from streamgauge.harness.errors import TargetError


def test_a_program_runs_to_its_end_and_the_signal_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert programs.wait([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_reference_server_listens_for_as_long_as_the_block_lasts() -> None:
    with programs.reference_server() as url, urllib.request.urlopen(f"{url}/healthz") as response:
        assert response.status == 200
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/healthz")


def test_a_reference_server_that_cannot_start_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TargetError, match="the reference server did not start"), programs.reference_server("--wheels"):
        pass
    assert "--wheels" in capfd.readouterr().err
