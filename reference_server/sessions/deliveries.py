"""For each event that a log keeps: when it was generated, and when a subscriber first had it."""

from collections.abc import Sequence
from typing import Any


class Deliveries:
    """Columns beside the events of one log. Events have the log's numbers."""

    def __init__(self) -> None:
        self.tokens = 0  # that some subscriber has
        self._first = 1  # number of the oldest event here
        self._tokens: list[int] = []  # generated up to and with each event
        self._generated_at: list[int] = []
        self._delivered_at: list[int] = []  # 0: not yet

    def generated(self, count: int, tokens: int, now: int) -> None:
        """`count` more events were generated. Now the answer has `tokens` tokens."""
        self._tokens += [tokens] * count
        self._generated_at += [now] * count
        self._delivered_at += [0] * count

    def delivered(self, first: int, last: int, now: int) -> int:
        """These events were delivered for the first time. Return how many tokens they held."""
        for index in range(max(first - self._first, 0), last - self._first + 1):
            self._delivered_at[index] = now
        before, self.tokens = self.tokens, self._tokens[last - self._first]
        return self.tokens - before

    def drop_before(self, number: int) -> None:
        """Forget the events before this number, which the log has dropped."""
        count = number - self._first
        if count:
            for column in (self._tokens, self._generated_at, self._delivered_at):
                del column[:count]
            self._first = number

    def rows(self, id: str, events: Sequence[bytes], since: int) -> list[dict[str, Any]]:
        """One row for each of these events, which are those that the log keeps; times in seconds after `since`."""
        rows = zip(events, self._tokens, self._generated_at, self._delivered_at, strict=True)
        return [
            {
                "id": f"{id}:{number}",
                "tokens": tokens,
                "generated": round((generated - since) / 1e9, 6),
                "delivered": round((delivered - since) / 1e9, 6) if delivered else None,
                "event": event.decode(),
            }
            for number, (event, tokens, generated, delivered) in enumerate(rows, self._first)
        ]
