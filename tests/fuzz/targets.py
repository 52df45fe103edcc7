"""What is fuzzed. A target runs one case with the randomness that it is given, and raises if the C is wrong.

The C is compared with the Python that does the same work. The sanitizers see what a comparison cannot: a read or a
write outside a buffer, and undefined behaviour. So that they see a buffer's exact end, pass C an `exact` copy.
"""

from collections.abc import Callable
from random import Random

from tests.fuzz import blobs, chunks, figures, framing, match, records, rows, times

TARGETS: dict[str, Callable[[Random], None]] = {
    "chunks": chunks.case,
    "framing": framing.case,
    "records": records.case,
    "match": match.case,
    "times": times.case,
    "columns": times.columns_case,
    "blobs": blobs.case,
    "figures": figures.case,
    "rows": rows.case,
}
