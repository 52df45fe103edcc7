"""The words of the page that have a definition, which opens at a touch. docs/glossary.md has more of them."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup, escape

DEFINITIONS = {
    "TTFT": "Time to first token: from the moment at which a stream was due to its first content.",
    "ITL": "Inter-token latency: the time between two chunks of content of one stream, over all streams.",
    "TPOT": "Time per output token: from the first to the last content, for each reported token after the first.",
    "E2E": "End to end: from the moment at which a stream was due to the last content of its answer.",
    "P50": "Half of the values are at most this: the median.",
    "P95": "95 of 100 values are at most this.",
    "P99": "99 of 100 values are at most this.",
    "95 % interval": "Where the true value lies, with 95 % confidence. More streams make it narrower.",
    "Error rate": "The share of the streams that failed: refused, cut off, timed out, empty, or with an error inside.",
    "Completion rate": "The share of the streams whose answer came whole, of those whose person stayed.",
    "goodput": "The share of answers that kept every limit that [reader] of streamgauge.toml calls good.",
    "stall": "A reader of the answer has read all that came and has to wait in the middle of it.",
    "wire": "Before the emulated link: what the server delivered, without the phone’s network.",
    "warm-up": "The first part of the run. Its streams are recorded, but count in no figure.",
    "due": "When a stream should have begun. Latencies count from here, even if our generator began it late.",
    "reader": "A person who reads at a steady pace what has come. [reader] of the config says how fast.",
    "open streams": "Streams that were due and had not ended yet, at the same time.",
    "margin": "A smaller change does not count as a regression.",
    "error budget": "The share of probes that may be bad over the window of a service level.",
    "burn rate": "The share of bad probes over the share that may be bad. At 1, the budget lasts for the window.",
    "Cost": "What the tokens that the server reported cost, by the prices of the config.",
}

_TERM = re.compile(
    r"(?<![\w-])(" + "|".join(map(re.escape, sorted(DEFINITIONS, key=len, reverse=True))) + r")(?![\w-])"
)


class Term(NamedTuple):
    id: str
    name: str
    definition: str


def terms() -> Iterator[Term]:
    for name, definition in DEFINITIONS.items():
        yield Term(_id(name), name, definition)


def explained(text: str, used: set[str]) -> Markup:
    """The text, escaped, with a button around each term that has a definition; their names are added to `used`."""
    shown = Markup("")
    for place, part in enumerate(_TERM.split(text)):
        is_term = place % 2 == 1
        used.update([part] if is_term else [])
        shown += (
            Markup('<button type="button" class="term" popovertarget="{}">{}</button>').format(_id(part), part)
            if is_term
            else escape(part)
        )
    return shown


def _id(name: str) -> str:
    return "term-" + re.sub(r"\W+", "-", name.lower()).strip("-")
