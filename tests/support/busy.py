"""Runs that tests make beside other programs, which can keep a run from its cores and make it invalid."""

import subprocess
from collections.abc import Callable

_BUSY = "the machine was busy with other work"  # of a verdict: judge/verdict/short_of_cores.py


def again_if_busy(
    attempt: "Callable[[], subprocess.CompletedProcess[str]]",
) -> "subprocess.CompletedProcess[str]":
    """What an attempt ends with. It gets a second one if the first says that other programs had the cores of a run.

    That is said only of runs that are invalid for this reason, so no other wrong verdict is tried again. An attempt
    begins by removing what the one before it left.
    """
    ended = attempt()
    return attempt() if _was_busy(ended.stdout + ended.stderr) else ended


def ended_well(code: int | None, said: str) -> bool:
    """Of a test that asks for other things than the verdict: whether the run was MET, or is invalid for that reason."""
    return code == 0 or (code == 3 and _was_busy(said))


def _was_busy(said: str) -> bool:
    return _BUSY in " ".join(said.split())  # whatever the width of the terminal
