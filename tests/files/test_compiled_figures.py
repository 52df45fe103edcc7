"""The figures of a run are the same, bit for bit, whether C or NumPy computes them."""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from streamgauge.harness.judge.outputs import json
from streamgauge.harness.judge.store import Store
from streamgauge.harness.native import library
from streamgauge.reports.material import gather
from tests.support import any_streams

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(library.LIBRARY is None, reason="the package was installed without a compiler"),
]


def _figures(path: Path) -> dict[str, Any]:
    """All that the terminal, the JSON document and the report's panels are made of."""
    with Store.open(path) as store:
        material = gather(store)
    judgement = material.judgement
    samples = {
        name: [each.tolist() for each in (found.values, found.counts, *found.kept, found.elapsed, *found.clusters)]
        for name, found in judgement.distributions.items()
    }
    return {
        "document": json.document(judgement),
        "sums": judgement.totals.sums,
        "samples": samples,
        "timeline": msgspec.to_builtins(material.timeline),
        "handed": msgspec.to_builtins(material.handed),
    }


@pytest.mark.parametrize("seed", range(3))
def test_c_and_numpy_compute_the_same_figures(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    any_streams.store(tmp_path / "any.db", Random(seed), 200)
    compiled = _figures(tmp_path / "any.db")
    monkeypatch.setattr(library, "LIBRARY", None)
    assert np.array(compiled["samples"]["itl"][0]).size > 10
    assert repr(compiled) == repr(_figures(tmp_path / "any.db"))  # repr, since NaN is not equal to itself
