"""Reads a file that a user names. A pipe, a device or a huge file must neither block us nor fill the memory."""

import errno
import os
import stat
from pathlib import Path


def contents(path: str | os.PathLike[str], most: int) -> bytes:
    """The file's bytes. OSError, also for what is no regular file, and for a file of more than `most` bytes."""
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "its name holds a NUL", os.fspath(path))
    _check_regular(Path(path).stat(), path)  # before it is opened: that alone can change a device
    # A pipe could have taken its place just now: without this flag, opening it would wait for somebody who writes.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _check_regular(os.fstat(file.fileno()), path)
        data = file.read(most + 1)
    if len(data) > most:
        size = f"{most // 2**20} MiB" if most >= 2**20 else f"{most:,} bytes"
        raise OSError(errno.EFBIG, f"it is larger than {size}", os.fspath(path))
    return data


def _check_regular(found: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file; give the path of a file", os.fspath(path))
