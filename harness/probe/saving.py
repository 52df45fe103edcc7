"""The config that worked, as a file: with comments, and without a secret in it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from streamgauge.harness.config import literals
from streamgauge.harness.config.redaction import SHORTEST
from streamgauge.harness.config.schema import Config, Target
from streamgauge.harness.errors import ConfigError, OutputError
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.sent import literal

_PRIVATE = 0o600  # what only the owner may read
_RULES = """
# What must hold for the people who use it. See docs/concepts/metrics.md.
[[sla]]
rule = "p95(ttft) < 1.5s"

[[sla]]
rule = "error_rate < 1%"
"""


def check(path: Path, *, force: bool) -> None:
    """OutputError if this file cannot become the config: asked before anything is sent."""
    check_new(path, "" if force else "give --force to replace it")


def check_new(path: Path, instead: str) -> None:
    """OutputError if the file's folder is missing, or if it exists; `instead`: what to do then, "" to replace it.

    Only a regular file is ever replaced: writing to a pipe would wait for a reader.
    """
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; correct the path, or create the folder")
    if instead and (path.exists() or path.is_symlink()):
        raise OutputError(f"{path}: exists already; {instead}")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: it is no regular file, so it is not replaced; move it away")


def with_variables(target: Target, environ: Mapping[str, str] = os.environ) -> Target:
    """The target with `${NAME}` in place of secrets in its headers.

    A shell may have filled one in: "authorization: Bearer $KEY". ConfigError for a secret that is in no variable.
    """
    for place in literals.found(target):
        if not place.startswith("target.headers."):
            raise ConfigError(
                f"--save: {place} holds a secret literally, which does not belong into a file: "
                f"export it as a variable, and write ${{NAME}} there"
            )
    headers = {name: _with_variable(name, value, environ) for name, value in target.headers.items()}
    return msgspec.structs.replace(target, headers=headers)


def _with_variable(name: str, value: str, environ: Mapping[str, str]) -> str:
    if not literal(name, value):
        return value
    for variable, secret in environ.items():
        if len(secret) >= SHORTEST and secret in value and _is_name(variable):
            replaced = value.replace(secret, f"${{{variable}}}")
            if not literal(name, replaced):
                return replaced
    raise ConfigError(
        f"the header {name!r} holds its value literally, and a secret does not belong into a file: "
        f"export it as a variable, and write '{name}: ${{NAME}}' in single quotes"
    )


def _is_name(variable: str) -> bool:
    return variable.isidentifier() and variable not in {"PWD", "OLDPWD", "HOME", "PATH"}


def text(host: str, target: Target, config: Config, model: str) -> str:
    """The file: the target that worked, and everything else of the config that was given.

    `model`: a comment in place of the model, if nobody named one; "" otherwise.
    """
    whole = msgspec.structs.replace(config, target=target)
    found: dict[str, Any] = msgspec.to_builtins(whole, enc_hook=str, builtin_types=(datetime,))
    rules = found.pop("sla", [])
    named = {} if model else {"model": target.model}
    written = {"protocol": target.protocol, **named, **found.pop("target", {})}
    head = (
        f"# Written by `streamgauge try` when this endpoint had answered completely: {host}\n"
        f"# A run with it: streamgauge run chat --host {host} --users 20 --run-time 2m --report report.html\n"
        "# ${NAME} is filled in from the environment. Every key: docs/reference/configuration.md\n\n"
    )
    parts = [lines.table("target", written).replace("[target]\n", f"[target]\n{model}", 1)]
    parts += [_tables("sla", rules)] if rules else [_RULES.lstrip("\n")]
    for name, table in found.items():
        parts += _with_lists(name, table) if isinstance(table, dict) else [_tables(name, table)]
    return head + "\n".join(parts)


def _with_lists(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    """A table, and then its lists of tables, such as [[monitor.target]]."""
    lists = {key: item for key, item in table.items() if isinstance(item, list) and all(map(_is_table, item))}
    yield lines.table(name, {key: item for key, item in table.items() if key not in lists})
    for key, item in lists.items():
        yield _tables(f"{name}.{key}", item)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _tables(name: str, tables: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"[[{name}]]\n{_pairs(table)}\n" for table in tables)


def _pairs(table: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {lines.value(item)}\n" for name, item in table.items())


def write(path: Path, content: bytes, *, new: bool) -> None:
    """Write a private file; with `new`, only if there is none. OutputError if the system refuses.

    All of it or nothing: a full disk or Ctrl-C leaves what was there.
    """
    try:
        if new:
            _create(path, content)
        else:
            beside = path.resolve().with_name(f".{path.name}.{os.getpid()}")
            _create(beside, content)
            beside.replace(path.resolve())
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written: {fault.strerror}") from None


def _create(path: Path, content: bytes) -> None:
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb")
    try:
        with file:
            file.write(content)
    except BaseException:  # Ctrl-C as well
        path.unlink(missing_ok=True)
        raise
