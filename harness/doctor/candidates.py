"""What an endpoint may be asked for: by its URL, and by what the person says of it. Pure."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from streamgauge.harness.config.overrides import changed
from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.protocols import PROTOCOLS as ALL
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.probe.recognising import PROTOCOLS

_VERSION = re.compile(r"(?:/[\w.-]+)*/v\d\w*")  # of an API, as SDKs want their URL


def candidates(
    url: str,
    target: Target,
    protocol: ProtocolName | None,
    *,
    model: str | None,
    path: str | None,
    headers: Sequence[str],
) -> list[tuple[str, Target]]:
    """Hosts and targets, in the order in which they are worth asking. A single one need not be recognised.

    `url` may be the endpoint's whole URL, or what its protocol's path comes below. `protocol`: None if nobody said it.
    TargetError for a URL that is none.
    """

    Endpoint.of(url)

    def one(name: ProtocolName, at: str | None = path) -> Target:
        return changed(target, protocol=name, model=model, path=at, headers=tuple(headers))

    if protocol is not None:
        return [(url, one(protocol))]
    parts = urlsplit(url)
    below = parts.path.rstrip("/")
    named = [name for name in PROTOCOLS if below.endswith(ALL[name].path)]
    if named:
        return [(url, one(name)) for name in named]
    usual = [(url, one(name)) for name in PROTOCOLS]
    if path is not None or not below or _VERSION.fullmatch(below):
        return usual
    origin = f"{parts.scheme}://{parts.netloc}"
    return [(origin, one("openai_chat", below)), *usual]
