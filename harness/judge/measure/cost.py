"""What streams cost, by the tokens that the server reported and the prices of the config. Pure.

Every stream costs that reported usage, however it ended. What was not reported is not estimated: `Cost` says how many
streams are missing from it, or count in part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streamgauge.harness.config.schema import Prices
from streamgauge.harness.judge.measure.totals import USAGE, Totals
from streamgauge.harness.record.observation import Outcome

_PRICED = 1_000_000  # tokens


@dataclass(frozen=True)
class Cost:
    currency: str
    total: float | None  # None: no stream told its usage
    answers: int  # that were completed
    streams: int  # that reached the model: all but those that were refused, or never sent
    silent: int  # of these, without any usage: not in the cost
    resumed: int  # of these, with usage and going on with an answer that broke: the broken part may have told some, too
    partial: int  # of these, with usage that may be a part: they ended early, or reported only one side

    @property
    def per_thousand(self) -> float | None:
        """For 1,000 completed answers, with what the others cost; None without a completed answer."""
        return 1_000 * self.total / self.answers if self.answers and self.total is not None else None


def prices_of(config: Mapping[str, Any]) -> Prices | None:
    """The prices in the config that is stored with a run."""
    return msgspec.convert(config["prices"], Prices) if config.get("prices") else None


def cost_of(totals: Totals, prices: Prices | None) -> Cost | None:
    """None without prices."""
    if prices is None:
        return None
    given, generated, read, written = map(totals.sum, USAGE)
    if prices.cached_in_input is not False:  # what one stream has too many of must not be taken from another's input
        given = totals.sum("fresh_tokens") + read + written
    return Cost(
        currency=prices.currency,
        total=priced(prices, given, generated, read, written) if totals.sum("usage_told") else None,
        answers=totals.count(Outcome.COMPLETED),
        streams=int(totals.sum("usage_told") + totals.sum("usage_silent")),
        silent=int(totals.sum("usage_silent")),
        resumed=int(totals.sum("usage_resumed")),
        partial=int(totals.sum("usage_partial")),
    )


def priced(prices: Prices, given: float, generated: float, read: float, written: float) -> float:
    """The price of these tokens: input and output as reported, and what was read from and written to the cache."""
    fresh = max(0.0, given - read - written) if prices.cached_in_input is not False else given
    of_read, of_written = (
        prices.input if price is None else price for price in (prices.cache_read, prices.cache_write)
    )
    paid = fresh * prices.input + generated * prices.output + read * of_read + written * of_written
    return paid / _PRICED
