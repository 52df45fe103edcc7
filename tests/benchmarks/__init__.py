"""`python -m tests.benchmarks` (`make bench`): speed and accuracy at full size, on this machine.

Each benchmark prints its results and writes them as JSON to out/bench. They take long and are not part of the tests.
"""
