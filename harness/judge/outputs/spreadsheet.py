"""Text from outside as the cell of a CSV that a spreadsheet opens.

A text that a spreadsheet would take for a formula begins with an apostrophe. What does not show, such as NUL, is
written as `⟨U+0000⟩`, and a line break as a space.
"""

import re

from streamgauge.harness.judge.wording import visible

_FORMULA = re.compile("\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20]")  # also the wide forms, which some spreadsheets accept


def text(untrusted: str) -> str:
    shown = visible(untrusted)
    return f"'{shown}" if _FORMULA.match(shown) else shown
