import subprocess
import sys

STEPS = """
from harness.drive.shapes import steps
print([steps(at, (10, 20, 40), 30) for at in (0, 29.9, 30, 60, 89.9, 90, 1000)])
"""


def test_a_staircase_holds_each_step_and_ends() -> None:
    # In a process of its own: importing Locust would patch this one.
    told = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[10, 10, 20, 40, 40, None, None]"
