"""Shipped protocols that are tables and no code. A table is a `[target]` of streamgauge.toml, read by `custom`.

So whoever needs a variant copies the file into their config and changes it there. To add one, add its file to `tables`,
and its name to `TABLES` and to `ProtocolName`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from streamgauge.harness.config import template
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import ProtocolName, Request, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.custom import custom
from streamgauge.harness.drive.protocols.places import values
from streamgauge.harness.drive.protocols.protocol import Protocol

TABLES: tuple[ProtocolName, ...] = ("ollama", "gemini", "ai_sdk", "ag_ui")
_FOLDER = Path(__file__).parent / "tables"


def tabled(name: ProtocolName) -> Protocol:
    """The protocol that the file of this name describes."""
    file = _FOLDER / f"{name}.toml"
    table = parse(file.read_bytes(), str(file)).target
    shape = table.request
    assert table.events is not None
    assert table.path is not None
    assert shape is not None
    return replace(
        custom(table.events, name),
        path=table.path,
        whole_path=table.whole_path,
        headers=table.headers,
        end=table.end,
        request=_asking(shape),
        names_conversation=template.mentions(shape.body, {"conversation"}),
    )


def _asking(shape: Request) -> Any:
    def request(target: Target, prompt: Prompt, stream: bool) -> dict[str, Any]:
        filled: dict[str, Any] = template.fill(shape.body, {**values(target, prompt, shape), "stream": stream})
        return filled

    return request
