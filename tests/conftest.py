"""Fixtures of several test files."""

import pytest

from harness.drive import wire


@pytest.fixture(params=["compiled", "python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading sockets: whatever a test says of one holds for the other."""
    if request.param == "python":
        monkeypatch.setattr(wire, "COMPILED", None)
    elif wire.COMPILED is None:
        pytest.skip("the package was installed without a compiler")
    monkeypatch.setattr(wire, "_LOOPS", {})
