"""Arrivals blobs that are damaged or made by an attacker, in a process that would die of too much memory."""

import resource
import subprocess
import sys

import pytest

from tests.support.command import PATIENCE, REPOSITORY

MEMORY = 384 * 2**20  # bytes of address space: Python and numpy take 150 MiB, and a bomb would take 256 more


@pytest.mark.parametrize("cases", [2_000])  # `make bench` tries a million
def test_hostile_blobs_are_refused_within_a_bound_of_memory(cases: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile_blobs", str(cases)],
        cwd=REPOSITORY,
        env={"OPENBLAS_NUM_THREADS": "1"},  # each thread reserves address space
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    assert ended.stdout.count("'read'") == ended.stdout.count("'damaged'") == 2, "with compiled code, and without"
