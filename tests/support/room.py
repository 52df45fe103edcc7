"""Where tests have their files: in memory, if there is room. On a disk each database waits for it at its end, for a
twentieth of what all tests cost."""

import os
import tempfile
from pathlib import Path

import psutil

_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30  # bytes: ten times what the tests use


def take() -> None:
    """Have this process and all that it starts make their temporary files in memory.

    Unless there is little memory, no program may be executed from there, as in most containers, or TMPDIR says where.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    there = os.statvfs(_MEMORY)
    if there.f_flag & os.ST_NOEXEC or min(there.f_bavail * there.f_frsize, psutil.virtual_memory().available) < _ROOM:
        return
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)
