"""How an answer is delivered. Plain values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamgauge.reference_server import parsing
from streamgauge.reference_server.delivery.flushing import Unit

NEVER = 1 << 62  # ns
_SHORTEST_KEEP_ALIVE = 10_000_000  # ns


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Times are in nanoseconds."""

    flush: Unit = "token"
    keep_alive: int = 15_000_000_000  # the silence after which a comment is sent
    deadline: int = 600_000_000_000  # for the whole answer; 0: none
    idle: int = 60_000_000_000  # how long a client may read nothing while there is something to send; 0: no limit
    resumable: int = 0  # how long the generation and its log wait for a subscriber; 0: the answer ends with its client


def _unit(text: str) -> str:
    if text not in {"token", "word", "sentence"}:
        raise ValueError(f"{text!r} is not allowed: write token, word or sentence")
    return text


def _keep_alive(text: str) -> int:
    nanoseconds = parsing.duration(text)
    if nanoseconds < _SHORTEST_KEEP_ALIVE:
        raise ValueError(f"{text!r} is too short: at least 10ms, or the stream would consist of comments")
    return nanoseconds


# Each setting by its name in options and request headers, with the parser of its text.
DELIVERY_SETTINGS: dict[str, Callable[[str], Any]] = {
    "flush": _unit,
    "keep-alive": _keep_alive,
    "deadline": parsing.duration,
    "idle": parsing.duration,
    "resumable": parsing.duration,
}
