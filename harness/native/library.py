"""The few loops of the harness that are C, where a compiler was when the package was installed.

`drive.drain`, `drive.clients.reading` and `.timing`, and `arrivals` call them, and where there is no library, the same
is done in Python: the same record at a higher cost. Linux only, as are the kernel's stamps.
"""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

_NUMBERS = POINTER(c_int64)
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "sg_sizes": (POINTER(c_int),),
    "sg_start": (c_void_p, c_int),
    "sg_poll": (c_void_p,),
    "sg_read": (c_void_p, POINTER(c_int32)),
    "sg_stop": (c_void_p,),
    "sg_lock": (c_void_p,),
    "sg_unlock": (c_void_p,),
    "sg_watch": (c_void_p, c_void_p),
    "sg_resume": (c_void_p, c_void_p),
    "sg_leave": (c_void_p, c_void_p),
    "sg_count": (c_void_p, c_char_p, c_int),
    "sg_follow": (
        *(c_char_p, c_int64, _NUMBERS),
        *(c_char_p, c_int, c_char_p, c_int),
        *(c_int64, c_int, _NUMBERS, _NUMBERS),
    ),
    "sg_pack": (c_void_p, c_int, c_int, c_char_p),
    "sg_timing": (
        *(c_void_p, c_int, c_void_p, c_void_p, c_int, c_void_p, c_int, c_int64, c_int64),
        *(c_void_p, c_void_p, c_void_p, c_int, c_int64, c_void_p, c_void_p),
    ),
}


def _load() -> Any:
    try:
        library = ctypes.CDLL(str(Path(__file__).with_name("_compiled.so")))
    except OSError:
        return None
    for name, arguments in _ARGUMENTS.items():
        getattr(library, name).argtypes = arguments
    return library


LIBRARY: Any = _load()  # None: Python does it
