"""Changes keys of one table of a config file, and nothing else: its comments, its order and its other keys stay."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamgauge.harness.config.load import load, parse
from streamgauge.harness.errors import ConfigError

_NEW = 0o644


def changed(path: Path, table: str, values: Mapping[str, Any]) -> str:
    """The text of the file with these keys in this table; of a file that is not there, only these.

    ConfigError if the file is no config, or would be none.
    """
    import tomlkit  # noqa: PLC0415 - 0.1 s, only for who changes a config

    before = ""
    if path.exists():
        load(path)
        with path.open(encoding="utf-8", newline="") as file:
            before = file.read()
    document = tomlkit.parse(before)
    if table not in document:
        if before.strip():
            document.add(tomlkit.nl())
        document.add(table, tomlkit.table())
    for key, value in values.items():
        document[table][key] = value
    text = tomlkit.dumps(document)
    if "\r\n" in before:  # tomlkit ends the lines that it adds with \n
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    parse(text.encode(), str(path))
    return text


def place(path: Path) -> Path:
    """The file that is written for this path, which may be a link. ConfigError if its folder takes no new file."""
    try:
        file = path.resolve()
    except (OSError, RuntimeError):  # RuntimeError before Python 3.13
        raise ConfigError(f"{path}: is a link that leads to itself; make it a file") from None
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{file}: cannot be written: {file.parent} is missing or takes no new file; correct its rights"
        )
    return file


def write(path: Path, text: str) -> None:
    """Write the file whole or not at all; it keeps its permissions, and a link leads to it as before. ConfigError."""
    path = place(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else _NEW
        try:
            opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(opened, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from None
