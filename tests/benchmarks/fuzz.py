"""A million random cases of the fuzz targets together, with the C built with AddressSanitizer and UBSan."""

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz import sanitized
from tests.fuzz.targets import TARGETS

CASES = 1_000_000
SECONDS = 600.0  # of two cores; then the line says how far it came


def run(cases: int = CASES) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        library, counts = sanitized.build(Path(folder)), Path(folder, "counts.json")
        words = ["-m", "tests.fuzz", str(-(-cases // len(TARGETS))), "--seconds", str(SECONDS)]
        found = sanitized.python(library, [*words, "--library", str(library), "--json", str(counts)])
        print(found.stdout, end="")
        if found.returncode:
            raise SystemExit("fuzz: failed, see above")
        return {"targets": len(TARGETS), **json.loads(counts.read_text())}
