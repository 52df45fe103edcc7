"""The request as it was sent, for a person: without secrets. Pure.

Of the config's own headers, only variables, schemes and a few well-known harmless values are shown.
"""

import re
from dataclasses import dataclass

import msgspec

from streamgauge.harness.config import literals
from streamgauge.harness.config.redaction import SHORTEST
from streamgauge.harness.probe.asking import Probe

_VARIABLE = re.compile(r"\$\{[^}]*\}")
_HARMLESS = {"accept", "accept-encoding", "accept-language", "content-type", "user-agent"}
_HARMLESS |= {"anthropic-version", "anthropic-beta", "openai-beta"}
_LONGEST_BODY = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Sent:
    method: str
    url: str
    headers: dict[str, str]
    body: str  # "": none


def sent(probe: Probe) -> Sent:
    """With a client library, its own headers are in addition."""
    form = probe.site.request_format
    config = {name.lower(): value for name, value in probe.target.headers.items()}
    headers = {}
    for name, value in probe.site.headers_for(probe.prompt).items():
        headers[name] = _shown(name, config[name]) if name in config else probe.secret.blotted(value)
    body = form.encoded(probe.prompt).decode("utf-8", "replace")
    shown = probe.secret.blotted(body)
    for value in literals.found(probe.target).values():  # however short
        for quoted in (f'"{value}"', msgspec.json.encode(value).decode()):
            shown = shown.replace(quoted, '"…"')
    cut = shown if len(shown) <= _LONGEST_BODY else f"{shown[:_LONGEST_BODY]}…"
    return Sent(form.method, probe.url, headers, cut)


def literal(name: str, value: str) -> bool:
    """Whether the value of a header of the config holds something that may be secret, and is no variable."""
    rest = _VARIABLE.sub("", value).strip()
    harmless = name.lower() in _HARMLESS or name.lower().startswith("x-gauge-")  # the reference server's own
    return not harmless and (len(rest) >= SHORTEST or not _VARIABLE.search(value))


def _shown(name: str, value: str) -> str:
    return "…" if literal(name, value) else value
