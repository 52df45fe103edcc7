"""What somebody may have meant by a name that does not exist."""

import difflib
from collections.abc import Iterable

_MOST = 1_000  # names that are compared, the last of those given: a database may hold many runs
_LONGEST = 200  # characters of a name that is compared


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'chat'?` for the known name that is most alike; "" if none is. To be put behind a message."""
    known = [each for each in known if len(each) <= _LONGEST][-_MOST:]
    by_lower = {each.lower(): each for each in known}
    alike = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[alike[0]]!r}?" if alike else ""


def listed(name: str, known: Iterable[str], more: str = "") -> str:
    """`chat, voice; did you mean 'chat'?`; `more` stands behind the list."""
    known = list(known)
    return f"{', '.join(known)}{more}{did_you_mean(name, known)}"
