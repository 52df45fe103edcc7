"""What may help: a sentence, and the lines of the config that it is about."""

from typing import NamedTuple


class Advice(NamedTuple):
    says: str
    lines: str = ""  # of streamgauge.toml, ready to paste; "": none would help
    likely: bool = True  # whether it is worth asking again with these lines
