"""Reads a file that a user names, up to a size: a device or a huge file must not fill the memory."""

import errno
import os
from pathlib import Path


def contents(path: str | os.PathLike[str], most: int) -> bytes:
    """The file's bytes. OSError, also for a file of more than `most` bytes."""
    with Path(path).open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 2**20} MiB", os.fspath(path))
    return data
