"""How many users there are, when. In a process of its own: importing Locust would patch this one."""

import json
import subprocess
import sys

import pytest

CASES = [
    ("steps(at, (10, 20, 40), 30)", [0, 29.9, 30, 60, 89.9, 90, 1000], [10, 10, 20, 40, 40, None, None]),
    ("ramp(at, 100, 60, 30)", [0, 30, 60, 89.9, 90], [1, 50, 100, 100, None]),
    ("spike(at, (10, 60), (60, 30, 90))", [0, 59.9, 60, 89.9, 90, 179.9, 180], [10, 10, 60, 60, 10, 10, None]),
    ("wave(at, (5, 25), 100, 250)", [0, 25, 50, 75, 100, 150, 250], [5, 15, 25, 15, 5, 25, None]),
]


@pytest.fixture(scope="module")
def said() -> dict[str, list[int | None]]:
    """What each shape says at its moments."""
    answers = ", ".join(f"{call!r}: [{call} for at in {moments}]" for call, moments, _ in CASES)
    program = (
        "import json\n"
        "from streamgauge.harness.drive.shapes import ramp, spike, steps, wave\n"
        f"print(json.dumps({{{answers}}}))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: dict[str, list[int | None]] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize(("call", "users"), [(call, users) for call, _, users in CASES])
def test_a_shape_says_how_many_users_there_are_until_it_ends(
    call: str, users: list[int | None], said: dict[str, list[int | None]]
) -> None:
    assert said[call] == users
