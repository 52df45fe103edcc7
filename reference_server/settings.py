"""The settings of the server, and the changes that a request's `x-gauge-…` headers make for its own answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Scope

from streamgauge.reference_server.delivery.settings import DELIVERY_SETTINGS, DeliverySettings
from streamgauge.reference_server.faults.rules import FaultRule
from streamgauge.reference_server.model.settings import MODEL_SETTINGS, SERVER_WIDE, ModelSettings

_PREFIX = b"x-gauge-"
_OTHER_HEADERS = {"fault", "stream"}  # that begin with x-gauge- and are not settings


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    api_key: str = field(repr=False)
    url: str | None  # None: the SDK's default address
    model: str  # "": the model that the question names
    silence: float  # seconds


@dataclass(frozen=True, slots=True)
class Settings:
    model: ModelSettings
    delivery: DeliverySettings
    host: str
    port: int
    share_port: bool  # with other servers of this user: the kernel divides the connections
    send_buffer: int  # bytes; 0: the kernel's default
    allowed_hosts: tuple[str, ...]  # in the Host header, besides loopback's, if `host` is loopback
    max_streams: int
    max_tokens: int  # of all answers that are being sent
    drain: float  # seconds
    api_key: str = field(repr=False)  # "": no key is required
    faults: tuple[FaultRule, ...]
    truth: Path | None
    tls_cert: str | None
    tls_key: str | None
    redis_url: str | None
    upstream: UpstreamSettings | None  # answers in place of the simulated model


def gauge_headers(scope: Scope) -> dict[str, str]:
    """The `x-gauge-…` headers of a request, by the rest of their names."""
    return {
        name.removeprefix(_PREFIX).decode("latin-1"): text.decode("latin-1")
        for name, text in scope["headers"]
        if name.startswith(_PREFIX)
    }


def overrides(settings: Mapping[str, Callable[[str], Any]], headers: Mapping[str, str]) -> dict[str, Any]:
    """Those of these settings that the headers set, by the names of their fields. HTTPException if one is wrong."""
    found = {}
    for name, text in headers.items():
        if name in _OTHER_HEADERS:
            continue
        header = f"x-gauge-{name}"
        if name not in MODEL_SETTINGS and name not in DELIVERY_SETTINGS:
            known = sorted((MODEL_SETTINGS.keys() | DELIVERY_SETTINGS.keys() | _OTHER_HEADERS) - SERVER_WIDE)
            raise HTTPException(400, f"header {header}: there is no such setting; there are {', '.join(known)}")
        if name not in settings:
            continue
        if name in SERVER_WIDE:
            raise HTTPException(400, f"header {header}: all requests share this setting; set it at the server's start")
        try:
            found[name.replace("-", "_")] = settings[name](text)
        except ValueError as fault:
            raise HTTPException(400, f"header {header}: {fault}") from None
    return found
