"""`python -m tests.benchmarks` (`make bench`): what the instrument does at full size, on this machine.

Each benchmark prints what it found and writes it as JSON under out/bench. Not part of the tests: they take their time.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own modules, found here as pytest finds them
