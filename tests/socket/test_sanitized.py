"""The C of the harness under AddressSanitizer and UBSan. `make sanitize` runs ten times as much."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzz import sanitized
from tests.fuzz.targets import TARGETS


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return sanitized.build(tmp_path_factory.mktemp("sanitized"))
    except sanitized.NoSanitizers as missing:
        if os.environ.get("SANITIZERS") == "required":  # as in CI, where a skipped test would pass unseen
            raise
        pytest.skip(str(missing))


def clean(found: "subprocess.CompletedProcess[str]") -> str:
    assert found.returncode == 0, found.stdout[-6_000:]
    return found.stdout


# A case of these costs 20 ms here, which is NumPy under the sanitizers. Without them, test_hostile_blobs reads 2,000
# blobs, test_compiled_figures compares the figures of whole runs, and test_compiled_rows reads hostile rows.
COSTLY = {"blobs", "figures", "rows"}


def test_random_inputs_find_no_fault_in_the_c(library: Path) -> None:
    targets = [f"{name}=60" if name in COSTLY else name for name in TARGETS]
    told = clean(sanitized.random_inputs(library, *targets, cases=400))
    assert f"{60 * len(COSTLY) + 400 * (len(TARGETS) - len(COSTLY)):,} cases in " in told


def test_the_tests_of_the_compiled_reader_find_no_fault_in_the_c(library: Path) -> None:
    # As gcov shows, these and the random inputs reach every function of the C.
    told = clean(sanitized.tests(library, "tests/socket/test_compiled.py", "tests/socket/test_wire_connections.py"))
    assert "passed" in told
    assert "failed" not in told


WRITE_TOO_MUCH = """
import ctypes
from streamgauge.harness.native import library
from tests.fuzz.inputs import exact
rows, room = (ctypes.c_int64 * 41)(*range(41)), exact(bytes(82))
library.LIBRARY.sg_pack(bytes(41), rows, 1, 41, room)  # writes 83 bytes
"""


def test_the_sanitizers_see_a_write_past_the_end_of_a_buffer(library: Path) -> None:
    found = sanitized.python(library, ["-c", f"import tests.fuzz.library{WRITE_TOO_MUCH}"])
    assert "heap-buffer-overflow" in found.stdout
    assert found.returncode == 99
