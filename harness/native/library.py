"""Loads the harness's C library, which exists if there was a compiler when the package was installed.

`drive.wire.compiled`, `drive.reading.body` and `.timing`, `record.arrivals`, `judge.store`, `judge.measure` and
`reports` call it.
Without the library, Python code makes the same records and figures at a higher cost. The library and the kernel's
stamps need Linux.
"""

import ctypes
import sys
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

from streamgauge.harness.errors import InstallError
from streamgauge.harness.native import layout

_INSTALLED = Path(__file__).with_name("_compiled.so")
_NUMBERS = POINTER(c_int64)
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "sg_number": (c_char_p,),
    "sg_reader_size": (),
    "sg_start": (c_void_p, c_int),
    "sg_epoll": (c_void_p,),
    "sg_read_ready": (c_void_p, POINTER(c_int32)),
    "sg_stop": (c_void_p,),
    "sg_hurry": (c_int64,),
    "sg_lock": (c_void_p,),
    "sg_unlock": (c_void_p,),
    "sg_watch": (c_void_p, c_void_p),
    "sg_resume": (c_void_p, c_void_p),
    "sg_unwatch": (c_void_p, c_void_p),
    "sg_drain": (c_void_p, c_void_p),
    "sg_count": (c_void_p, c_char_p, c_int),
    "sg_put": (c_void_p, c_char_p, c_void_p, c_int, c_int),
    "sg_match": (
        *(c_char_p, c_int64, _NUMBERS),
        *(c_char_p, c_int, c_char_p, c_int),
        *(c_int64, c_int, _NUMBERS, _NUMBERS),
    ),
    "sg_pack": (c_char_p, c_void_p, c_int, c_int, c_void_p),
    "sg_timing": (POINTER(layout.Timing), POINTER(layout.Figures)),
    "sg_event_counts": (c_char_p, c_void_p, c_int64, c_void_p),
    "sg_content": (c_char_p, c_void_p, c_int64, POINTER(layout.Content)),
    "sg_gaps": (c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_void_p, c_void_p),
    "sg_bursts": (c_void_p, c_int64, c_void_p, c_void_p, POINTER(layout.Bursts), c_void_p),
    "sg_tally": (c_void_p, c_int64, c_void_p, c_int64, c_void_p),
    "sg_count_over_time": (POINTER(layout.Bins), c_void_p, c_void_p, c_void_p, c_int64, c_void_p),
    "sg_waits": (POINTER(layout.Content), c_void_p, c_int64, c_void_p, c_double, POINTER(layout.Waits)),
    "sg_sqlite": (c_void_p, c_void_p, c_void_p),
    "sg_fill": (POINTER(layout.Rows),),
}
# The functions that return an int64.
_LONG = ("sg_number", "sg_event_counts", "sg_content", "sg_gaps", "sg_bursts", "sg_tally", "sg_count_over_time")


def load(path: Path = _INSTALLED) -> Any:
    """The library; None where there is none. InstallError if it was compiled from another version."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    if not _fits(library):
        raise InstallError(f"{path} was compiled from another version; install the package again")
    return library


def _fits(library: Any) -> bool:
    """Whether the library has every function and number that this version calls and expects."""
    if not all(hasattr(library, name) for name in _ARGUMENTS):
        return False
    for name, arguments in _ARGUMENTS.items():
        getattr(library, name).argtypes = arguments
    for name in _LONG:
        getattr(library, name).restype = c_int64
    return all(library.sg_number(name.encode()) == value for name, value in layout.numbers().items())


def slower(library: Any, platform: str = sys.platform, path: Path = _INSTALLED) -> str:
    """A sentence about the Python code that does the library's work; "" if there is the library, or cannot be one."""
    if library is not None or platform != "linux":
        return ""
    gain = "for more than about a hundred users a core"
    if path.exists():
        return (
            f"the slower reader is in use: the compiled library cannot be loaded here ({_fault_of(path)}); "
            f"install streamgauge again on this machine, {gain}"
        )
    return (
        "the slower reader is in use: there was no C compiler (cc) when streamgauge was installed; "
        f"install a compiler, and streamgauge again, {gain}"
    )


def _fault_of(path: Path) -> str:
    """Why the library that is there cannot be loaded."""
    try:
        ctypes.CDLL(str(path))
    except OSError as fault:
        return str(fault)
    return f"{path} was compiled from another version"


try:
    LIBRARY: Any = load()  # None: Python does it
except InstallError:
    LIBRARY = None  # raised by an import, it would be a traceback; so commands and Locust `load` when they begin
