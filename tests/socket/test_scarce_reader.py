"""The C of the harness on a machine that has no descriptor or thread left for it."""

import subprocess
import sys

import pytest

from streamgauge.harness.native import library

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(library.LIBRARY is None, reason="the package was installed without a compiler"),
]

# Prints how many descriptors each failed start has left open: without each of those it needs, and without a thread.
SCARCE = """
import os, resource
from streamgauge.harness.drive.wire.compiled import PolledSet, ReadingThread
from streamgauge.harness.native.library import LIBRARY

def opened():
    return len(os.listdir("/proc/self/fd"))

def left_by(kind, limit, most):
    before, (_, hard) = opened(), resource.getrlimit(limit)
    resource.setrlimit(limit, (most, hard))
    try:
        kind(LIBRARY)
    except OSError:
        pass
    else:
        raise SystemExit(f"{kind.__name__} has started")
    finally:
        resource.setrlimit(limit, (hard, hard))
    return opened() - before

free = os.dup(0)
os.close(free)
left = [left_by(ReadingThread, resource.RLIMIT_NOFILE, free + more) for more in range(4)]
left += [left_by(PolledSet, resource.RLIMIT_NOFILE, free + more) for more in range(2)]
pages = int(open("/proc/self/statm").read().split()[0])
left.append(left_by(ReadingThread, resource.RLIMIT_AS, pages * resource.getpagesize() + 2**21))
print(left)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the open descriptors")
def test_a_reader_that_cannot_start_leaves_no_descriptor_open() -> None:
    told = subprocess.run([sys.executable, "-c", SCARCE], capture_output=True, text=True, check=False)
    assert told.stdout == f"{[0] * 7}\n", told.stderr
