"""What the streams of a monitor's target have spent lately, in tokens."""

from typing import NamedTuple

from streamgauge.harness.judge.store.connection import as_store_errors
from streamgauge.harness.judge.store.database import Store


class TokenRow(NamedTuple):
    at: float  # seconds since 1970: when the stream ended
    outcome: str
    input: int | None
    output: int | None
    cached: int  # read from a prompt cache, or written to one
    chunks: int


_SELECT = """
SELECT (realtime_ns + ended_at) / 1e9 AS at, outcome, input_tokens, output_tokens,
    ifnull(cache_read_tokens, 0) + ifnull(cache_write_tokens, 0), ifnull(content_chunks, 0)
FROM streams JOIN runs ON run = number
WHERE json_extract(runs.labels, '$.target') = ? AND at > ? AND streams.started_at IS NOT NULL ORDER BY at
"""


def tokens_since(store: Store, target: str, since: float) -> list[TokenRow]:
    """Of each stream that was begun, and ended after `since`, seconds since 1970, in order of time."""
    with as_store_errors(store.path):
        return [TokenRow(*row) for row in store._database.execute(_SELECT, [target, since])]
