"""Builds the C of the harness with AddressSanitizer and UBSan, and starts Python with it: `make sanitize`.

Python itself is not built with the sanitizers, so their library is loaded before everything else (LD_PRELOAD), and
Python takes its memory from `malloc`, which they watch. Python's own leaks at its end are not of interest.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "harness" / "native"
_CC = os.environ.get("CC", "cc")
_FLAGS = ["-shared", "-fPIC", "-pthread", "-O1", "-g", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"]
_SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


class NoSanitizers(Exception):
    """This machine's compiler has no sanitizers, or there is none."""


def build(folder: Path) -> Path:
    """The C of the harness, built with the sanitizers. NoSanitizers if it cannot be built."""
    library = folder / "_sanitized.so"
    command = [_CC, *_FLAGS, *_SANITIZERS, "-o", str(library), *map(str, sorted(NATIVE.glob("*.c")))]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as fault:
        raise NoSanitizers(f"no C compiler: {fault}") from None
    if found.returncode:
        if "cannot find" in found.stderr and "san" in found.stderr:
            raise NoSanitizers("the compiler's sanitizers are not installed (Debian: libasan8, libubsan1)")
        raise AssertionError(f"the C does not build:\n{found.stderr}")
    return library


def python(library: Path, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """A Python that has run with these arguments, and can load `library`; what it printed is in its `stdout`."""
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(_runtime(name) for name in ("libasan.so", "libubsan.so", "libstdc++.so")),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99",
        "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99",
        "PYTHONMALLOC": "malloc",
        "SANITIZED_LIBRARY": str(library),
    }
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def random_inputs(library: Path, *targets: str, cases: int) -> "subprocess.CompletedProcess[str]":
    """So many random cases of each of these targets of `tests.fuzz`; of all, if none is named."""
    return python(library, ["-m", "tests.fuzz", str(cases), *targets, "--library", str(library)])


def tests(library: Path, *paths: str) -> "subprocess.CompletedProcess[str]":
    """Those tests of the compiled C in these files and folders that hold no times to bounds."""
    selected = ["-m", "compiled and not timing", "-p", "tests.fuzz.library", "-p", "no:cacheprovider"]
    return python(library, ["-m", "pytest", "-q", *selected, "--hypothesis-profile=sanitized", *paths])


def main() -> None:
    """All tests of the compiled C, and more random inputs than the tests try."""
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        for ended in (random_inputs(library, cases=20_000), tests(library, "tests/files", "tests/socket")):
            print(ended.stdout)
            if ended.returncode:
                sys.exit(ended.returncode)


def _runtime(name: str) -> str:
    """The path of a library of the compiler's."""
    command = [_CC, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
