"""pytest's plug-in for a Python that `sanitized.python` has started: its tests use the C built with the sanitizers.

Processes that such a test starts use the installed C.
"""

import os
from pathlib import Path

from hypothesis import settings

from streamgauge.harness.native import library

library.LIBRARY = library.load(Path(os.environ["SANITIZED_LIBRARY"]))
assert library.LIBRARY is not None

settings.register_profile("sanitized", deadline=None, max_examples=30)  # the targets of `tests.fuzz` try many more
