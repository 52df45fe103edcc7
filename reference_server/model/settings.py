"""How the simulated model behaves, and the presets to start from. Plain values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamgauge.reference_server import parsing


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Times are in nanoseconds and hold for an idle server."""

    ttft: int = 400_000_000  # mean time to the first token of an empty prompt
    prefill: int = 30_000  # mean time that each token of the prompt adds to it
    itl: int = 12_000_000  # mean gap between two tokens
    spread: float = 0.4  # coefficient of variation of these times (log-normal); 0: each is exactly the mean
    pauses: float = 0.001  # share of the gaps that are long pauses, as when the batch is rescheduled
    pause: int = 400_000_000  # mean length of a long pause
    tokens: tuple[int, int] = (60, 240)  # an answer's length is drawn evenly from this range, both ends included
    thinking: tuple[int, int] = (0, 0)  # thinking tokens before it; 0 to 0: some if the request asks for thinking
    tools: int = 1  # turns of a conversation in which the model uses a tool, if any is on offer
    cached: float = 0.9  # share of the prefill time that a cached token saves
    capacity: int = 256  # answers generated at a time, others wait in a queue; 0: no limit, and no slowdown
    seed: int = 0  # the same seed and prompt give the same answer at the same offsets


PRESETS: dict[str, ModelSettings] = {
    "haiku": ModelSettings(),
    "sonnet": ModelSettings(
        ttft=900_000_000, prefill=60_000, itl=18_000_000, spread=0.5, pauses=0.002, tokens=(120, 400), capacity=128
    ),
    "opus": ModelSettings(
        ttft=1_600_000_000, prefill=120_000, itl=30_000_000, spread=0.5, pauses=0.002, tokens=(160, 500), capacity=64
    ),
    "local-7b": ModelSettings(ttft=150_000_000, prefill=400_000, itl=35_000_000, spread=0.15, pauses=0, capacity=4),
    # No randomness: for checking a client's clock.
    "exact": ModelSettings(
        ttft=200_000_000, prefill=0, itl=20_000_000, spread=0, pauses=0, tokens=(100, 100), capacity=0
    ),
}

# Each setting by its name in options and request headers, with the parser of its text.
MODEL_SETTINGS: dict[str, Callable[[str], Any]] = {
    "ttft": parsing.duration,
    "prefill": parsing.duration,
    "itl": parsing.duration,
    "spread": parsing.number(0, 5),
    "pauses": parsing.number(0, 1),
    "pause": parsing.duration,
    "tokens": parsing.token_range(1),
    "thinking": parsing.token_range(0),
    "tools": parsing.whole_number(0, 100),
    "cached": parsing.number(0, 1),
    "capacity": parsing.whole_number(0, 100_000),
    "seed": parsing.whole_number(0, 10**18 - 1),
}
SERVER_WIDE = frozenset({"capacity"})  # shared by all requests, so no header can change it
