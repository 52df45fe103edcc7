"""Text from a config, a scenario or a server, made safe to show to people. Pure.

`visible` is for every format; each format also escapes its own syntax.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from streamgauge.harness.config.schema import Where

_INVISIBLE = {
    **{code: f"⟨U+{code:04X}⟩" for first, last in [
        (0x00, 0x1F), (0x7F, 0x9F), (0x061C, 0x061C), (0x200B, 0x200B), (0x200E, 0x200F), (0x2028, 0x202E),
        (0x00AD, 0x00AD), (0x180E, 0x180E), (0x2060, 0x2064), (0x2066, 0x206F), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F),
        (0xFEFF, 0xFEFF), (0xFFFE, 0xFFFF), (0xD800, 0xDFFF),
    ] for code in range(first, last + 1)},
    **dict.fromkeys((0x09, 0x0A, 0x0D), " "),
}  # fmt: skip


_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _INVISIBLE if 0x7F <= code <= 0xFFFF}
# A folded text could begin a line with one.
_WORKFLOW_COMMAND = re.compile(r"(:)(?=:[A-Za-z-]+[ :])|(#)(?=#\[)")


def visible(text: str) -> str:
    """With control characters, bidirectional marks and lone surrogates written as `⟨U+202E⟩`."""
    return text.translate(_INVISIBLE)


def harmless(text: str) -> str:
    """`visible`, and without workflow commands, which GitHub would execute from the beginning of a log's line."""
    return _WORKFLOW_COMMAND.sub("\\g<0>\u200b", visible(text))


def escaped_json(text: str) -> str:
    """A JSON document with the characters that could act on a terminal written as \\u escapes."""
    return text.translate(_JSON_ESCAPES)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def capitalised(text: str) -> str:
    """With a capital as its first letter; the others stay as they are, unlike with `str.capitalize`."""
    return f"{text[:1].upper()}{text[1:]}"


def uncapitalised(text: str) -> str:
    """With a small first letter, as after a colon; the others stay as they are."""
    return f"{text[:1].lower()}{text[1:]}"


def words(where: Where) -> str:
    """Which streams a rule selects: `network slow_4g, label phase warm`, or `all streams`."""
    selected = where.selected().items()
    return ", ".join(f"{key.replace('label.', 'label ', 1)} {value}" for key, value in selected) or "all streams"


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """A tree of dicts as dotted names and values, in the order of the tree; an empty dict is a value."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
