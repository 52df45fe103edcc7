"""Inputs for targets: random bytes that look enough like the real ones, and copies with an exact end."""

import ctypes
import weakref
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

_LIBC = ctypes.CDLL(None)  # the sanitizers' `malloc` if they are loaded
_LIBC.malloc.restype, _LIBC.malloc.argtypes, _LIBC.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]


def exact(data: bytes) -> Any:
    """A copy of `data` for C in a block of exactly its size. Python's own objects have room behind their data."""
    address = _LIBC.malloc(len(data))
    copy = (ctypes.c_char * len(data)).from_address(address)
    weakref.finalize(copy, _LIBC.free, address)
    ctypes.memmove(address, data, len(data))
    return copy


def mutated(random: Random, data: bytes, strange: Sequence[bytes]) -> bytes:
    """`data` with a few changes: strange bytes put in, parts left out or repeated; or, half of the time, as it is."""
    if random.random() < 0.5:
        return data
    for _ in range(random.randint(1, 3)):
        begin = random.randint(0, len(data))
        end = min(len(data), begin + random.choice((0, 0, 1, 7)))
        data = data[:begin] + random.choice((*strange, b"", data[begin:end] * 2)) + data[end:]
    return data


def cut(random: Random, data: bytes, most: int = 5) -> list[bytes]:
    """`data` in at most `most` pieces, none of them empty."""
    places = sorted({0, len(data), *(random.randint(0, len(data)) for _ in range(random.randint(0, most - 1)))})
    return [data[begin:end] for begin, end in pairwise(places)]
