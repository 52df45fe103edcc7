"""How a verdict is told, one file for each way. A new one is a file here and its call in the command."""

import os
from pathlib import Path

from streamgauge.harness.errors import StoreError


def save(text: str, path: str | os.PathLike[str]) -> None:
    """Write a document whole or not at all, with its folder. StoreError when it cannot be written."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as fault:
        raise StoreError(f"{path}: cannot be written: {fault.strerror}") from fault
