"""A million random cases of each fuzz target, with the C built with AddressSanitizer and UBSan."""

import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz import sanitized
from tests.fuzz.targets import TARGETS

CASES = 1_000_000


def run(cases: int = CASES) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        library = sanitized.build(Path(folder))
        found = sanitized.python(library, ["-m", "tests.fuzz", str(cases), "--library", str(library)])
    print(found.stdout, end="")
    if found.returncode:
        raise SystemExit("fuzz: failed, see above")
    return {"cases": cases, "targets": len(TARGETS)}
