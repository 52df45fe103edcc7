"""The workers of `pytest -n` as forks of one process that has collected the tests, and so imported all test files.

Each worker collects them again, as it must, but imports nothing for it: that would cost it three seconds of a core.
"""

import contextlib
import importlib
import io
import sys
from collections.abc import Callable

import pytest

from tests.support import forking

BEGIN = ("-u", "-c")  # how the words behind `python` begin where execnet starts a worker
# What tests import as they run: those of all tiers, and those that the quick tier does without.
_BESIDE = ("numpy.random", "scipy.special", "xdist.remote")
_BESIDE_NOT_QUICK = (
    "plotly.graph_objs.bar", "plotly.graph_objs.layout", "plotly.graph_objs.scatter", "plotly.io", "pydantic.v1",
    "rich.progress", "streamgauge.harness.commands.run", "uvicorn.lifespan.off",
)  # fmt: skip


def main() -> None:
    door, *paths = sys.argv[1:]

    def prepared() -> Callable[[], None]:
        with contextlib.redirect_stdout(io.StringIO()):  # whatever fails, fails in each worker and is told by it
            pytest.main(["--collect-only", "--quiet", *paths])
        for name in _BESIDE if paths == ["tests/pure"] else _BESIDE + _BESIDE_NOT_QUICK:
            importlib.import_module(name)
        return _work

    forking.serve(int(door), prepared)


def _work() -> None:
    """What execnet's command says: do what the first line of the input says."""
    exec(eval(sys.stdin.readline()), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
