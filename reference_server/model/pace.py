"""When each token is due: the waits of the simulated model, and how a busy machine stretches them. Pure."""

import hashlib
import math
from array import array
from typing import Any

import numpy as np

from streamgauge.reference_server.model.settings import ModelSettings


def waits(settings: ModelSettings, count: int, prefilled: float, *seeds: object) -> "array[int]":
    """The wait before each of `count` tokens, ns. `prefilled` tokens of the prompt lengthen the first."""
    first = settings.ttft + settings.prefill * prefilled
    if not settings.spread and not settings.pauses:
        return array("q", [round(first), *[settings.itl] * (count - 1)][:count])
    random = np.random.default_rng(seed(settings.seed, *seeds))
    drawn = np.full(count, float(settings.itl))
    if settings.pauses:
        drawn[random.random(count) < settings.pauses] = settings.pause
    drawn[0:1] = first
    drawn *= _log_normal(random, settings.spread, count)
    return array("q", drawn.astype(np.int64).tobytes())


def slowdown(running: int, capacity: int) -> float:
    """The factor by which waits grow when `running` answers share the machine.

    Up to half the capacity, a batch takes as long as a single answer. Above that the factor grows in proportion to the
    load, up to 2 at full capacity. A capacity of 0 never slows down.
    """
    knee = capacity / 2
    return 1.0 if running <= knee or not capacity else running / knee


def seed(*seeds: object) -> int:
    """One number from several values, the same in every process."""
    text = "\0".join(map(str, seeds))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")


def _log_normal(random: np.random.Generator, variation: float, count: int) -> Any:
    """Factors with mean 1 and this coefficient of variation."""
    sigma = math.sqrt(math.log1p(variation * variation))
    return random.lognormal(-sigma * sigma / 2, sigma, count) if sigma else 1.0
