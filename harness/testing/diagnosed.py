"""What `streamgauge doctor` finds, for a test. The fixture is in `testing.plugin`."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import kinds, lines
from streamgauge.harness.judge.wording import visible
from streamgauge.harness.testing.command import COMMAND, flags

_LOOKED = {Exit.MET, Exit.MISSED}


@dataclass(frozen=True)
class Diagnosed:
    """The endpoint was looked at: a test that could not look has failed."""

    document: Mapping[str, Any]  # by docs/reference/doctor.schema.json

    @property
    def failed(self) -> list[str]:
        """The checks that failed, the most serious first."""
        return [name for name, status in self.checks.items() if status == "fail"]

    @property
    def checks(self) -> dict[str, str]:
        """The status of each check: fail, warn, unknown or pass."""
        return {each["check"]: each["status"] for each in self.document["checks"]}

    def __repr__(self) -> str:
        return f"<{self.document['url']}: {self.document['sentence']}>"


def doctor(url: str, **options: object) -> Diagnosed:
    """Examine an endpoint, as `streamgauge doctor` does. The test fails if it could not look.

    `options` are those of the command, as in `origin="http://127.0.0.1:8000", config="ci.toml", header=["a: b"]`.
    """
    command = [*COMMAND, "doctor", url, *flags(options), "--json"]
    environment = kinds.environment_without_github()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode not in {*_LOOKED, Exit.INCONCLUSIVE}:
        pytest.fail("\n".join(map(visible, ended.stderr.strip().splitlines())), pytrace=False)
    found = json.loads(ended.stdout)
    lines.show(
        found["sentence"], *(f"{each['status']}: {each['title']}: {each['evidence']}" for each in found["checks"])
    )
    if ended.returncode not in _LOOKED:
        pytest.fail(visible(found["sentence"]), pytrace=False)
    return Diagnosed(found)
