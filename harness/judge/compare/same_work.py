"""Did two runs do the same work? Only runs with equal fingerprints are comparable. Pure."""

from collections.abc import Mapping
from typing import Any

from streamgauge.harness.errors import BaselineError
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.wording import leaves

MOST_LISTED = 3  # differences or runs, in one line


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """How two fingerprints differ, a text for each key: `load.users was 20 and is 50`."""
    old, new = dict(leaves(before)), dict(leaves(after))
    return [
        f"{key} was {_quoted(old, key)} and is {_quoted(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if key not in old or key not in new or old[key] != new[key]
    ]


def require(other: str, fingerprint: Mapping[str, Any], run: Run) -> None:
    """BaselineError if the run's fingerprint is not this one; `other` says, for people, whose fingerprint this is."""
    differing = differences(fingerprint, run.fingerprint)
    if differing:
        more = f"; and {len(differing) - MOST_LISTED} more" if len(differing) > MOST_LISTED else ""
        raise BaselineError(
            f"{run.id} cannot be compared with {other}: {'; '.join(differing[:MOST_LISTED])}{more}. "
            f"Only runs of the same work are compared: repeat it, or accept runs of this kind"
        )


def _quoted(flat: Mapping[str, Any], key: str) -> str:
    return repr(flat[key]) if key in flat else "absent"
