"""All that was seen of an endpoint, as one frozen value. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from streamgauge.harness.doctor.products import Product, recognised
from streamgauge.harness.doctor.reach import Reach
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.probe.advice import Advice

ORIGIN = "https://app.example"  # of the page that a browser would ask from
TO_FIRST_LOOK, BETWEEN_LOOKS = 1.0, 1.5  # s after an answer was stopped, and between the two looks at the counters
ORDINARY = ("as_is", "warm", "identity")  # the same small question, by experiment


@dataclass(frozen=True)
class Evidence:
    url: str
    protocol: str  # that the answers were read as
    reach: Reach
    seen: Mapping[str, Seen] = field(default_factory=dict)  # by experiment
    untried: Mapping[str, str] = field(default_factory=dict)  # why an experiment was not made, by experiment
    figures: Mapping[str, float] = field(default_factory=dict)  # what experiments measured beside their answers
    origin: str | None = None  # the URL of the server itself, behind the proxy
    framing: str = "sse"  # what divides its answers into events
    headers: frozenset[str] = frozenset()  # names of the config's headers, which each question has, in lower case
    lines: str = ""  # of the config, that were found by a question and not given
    advice: tuple[Advice, ...] = ()  # what may help if no answer could be read
    requests: int = 0  # that were sent
    budget: int = 0  # requests that were allowed
    seconds: float = 0.0  # that it took
    stopped: bool = False  # by the person at the terminal

    def why_not(self, experiment: str) -> str:
        """Why an experiment has no answer."""
        return self.untried.get(experiment, "it was not asked, because an earlier question got no usable answer")

    @cached_property
    def products(self) -> list[Product]:
        """What answered, by its headers, from the client to the model."""
        return recognised(seen.headers for seen in self.seen.values())

    @property
    def first(self) -> Seen | None:
        return self.seen.get("as_is")

    @property
    def stream(self) -> Seen | None:
        """The first answer, if it is a stream or may be one."""
        first = self.first
        return first if first is not None and first.answered and not first.instead else None

    @property
    def no_stream(self) -> str:
        """Why there is none."""
        first = self.first
        if first is None or not first.answered:
            return "there was no answer to look at"
        return f"{first.instead} came, and no stream"

    @property
    def ordinary(self) -> list[Seen]:
        """The answers to the ordinary question, at the URL."""
        return [self.seen[name] for name in ORDINARY if name in self.seen]

    @property
    def streams(self) -> Mapping[str, Seen]:
        """Every answer to a question for a stream to which the server said yes, at the URL."""
        others = {
            "origin",
            "origin_again",
            "whole",
            "get",
            "bad_request",
            "preflight",
            "error",
            "cancel",
            "cancel_call",
            "cancel_at_last",
        }
        return {
            name: seen
            for name, seen in self.seen.items()
            if seen.answered and name not in others and not name.startswith("metrics_")
        }
