"""A scenario's file, as a part of what makes two runs comparable."""

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# An import from `streamgauge.scenario` counts as one from `harness.scenario`, its name when the first baselines were
# accepted: a scenario in which only that line was renamed asks for the same work.
_IMPORT = re.compile(rb"^from streamgauge\.scenario import ", re.MULTILINE)


def content_hash(files: Iterable[str]) -> str:
    """Hash of the scenario's files: after an edit, a scenario of the same name may send other requests."""
    found = hashlib.sha256()
    for file in files:
        with suppress(OSError):  # the scenario may come from a URL or from the master
            found.update(_IMPORT.sub(b"from harness.scenario import ", Path(file).read_bytes()))
    return found.hexdigest()[:12]
