"""Exceptions that nobody expected: one line with the place; the traceback goes to a file or, with --debug, is shown.

Python itself would exit with 1, which means that a rule was missed.
"""

import os
import sys
import tempfile
import traceback
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from streamgauge.harness.errors import StreamgaugeError

DEBUG = "STREAMGAUGE_DEBUG"  # in the environment: set by `streamgauge --debug`, for the processes that it starts, too
_OURS = Path(__file__).parents[1]
_INSTALLED = tuple({os.fspath(Path(path).resolve()) for path in (sys.prefix, sys.base_prefix, os.__file__ + "/..")})
_LONGEST = 500  # characters of an exception's words


def sentence(fault: BaseException) -> str:
    """`NameError: name 'x' is not defined`, on one line."""
    words = " ".join(str(fault).split())
    cut = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    return f"{type(fault).__name__}: {cut}" if cut else type(fault).__name__


def of_user(fault: BaseException, scenario: str) -> str:
    """What the code of a scenario raised, with the user's file and line: `mine.py:3: NameError: name 'x' is not …`."""
    if isinstance(fault, SyntaxError) and fault.filename:
        return f"{_short(fault.filename)}:{fault.lineno}: {type(fault).__name__}: {fault.msg}"
    words = str(fault) if isinstance(fault, StreamgaugeError) else sentence(fault)
    return f"{_place(fault.__traceback__, scenario)}: {words}"


def debugged(fault: BaseException) -> None:
    """Print the traceback if --debug was given."""
    if os.environ.get(DEBUG):
        traceback.print_exception(fault)


def reported(fault: BaseException) -> str:
    """An error of streamgauge's own: the line to show. The traceback goes to a file that only its owner can read."""
    debugged(fault)
    frames = traceback.extract_tb(fault.__traceback__)
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    return f"unexpected error at {at}: {sentence(fault)}; {_kept(fault)}; please report it with that"


def _kept(fault: BaseException) -> str:
    """One file for each fault: a process that a monitor starts over and over may have the same one for days."""
    text = "".join(traceback.format_exception(fault))
    name = f"streamgauge-error-{sha256(text.encode(errors='replace')).hexdigest()[:12]}.txt"
    path = Path(tempfile.gettempdir()) / name
    try:
        with suppress(FileExistsError), open(path, "x", encoding="utf-8", errors="replace", opener=_for_owner) as file:
            file.write(text)
    except OSError:
        return "--debug shows the traceback"
    return f"the traceback is in {path}"


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _place(trace: TracebackType | None, scenario: str) -> str:
    """File and line where the user's own code was last; the scenario's name if it was never reached."""
    place = _short(scenario)
    for frame in traceback.extract_tb(trace):
        path = Path(frame.filename).resolve()
        own = path == Path(scenario).resolve() or not (
            path.is_relative_to(_OURS)
            or any(path.is_relative_to(folder) for folder in _INSTALLED)
            or not path.is_file()
        )
        if own:
            place = f"{_short(frame.filename)}:{frame.lineno}"
    return place


def _short(path: str) -> str:
    """Relative to the working directory, where it is in it."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return path
