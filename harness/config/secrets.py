"""`${NAME}` in the config: replaced from the environment when a value is used. Secrets are never stored or shown."""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from streamgauge.harness.config.schema import Metrics, Target
from streamgauge.harness.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def filled_headers(target: Target, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The target's headers with `${NAME}` replaced. They hold secrets: do not store them."""
    return _fill_all("target.headers", target.headers, environ)


def filled_metrics(target: Target, environ: Mapping[str, str] = os.environ) -> Metrics | None:
    """[target.metrics] with `${NAME}` replaced, also in the URL; None if there is none. Do not store it.

    ConfigError for a missing variable or a wrong URL.
    """
    metrics = target.metrics
    if metrics is None:
        return None
    url = _fill("target.metrics.url", metrics.url, environ)
    if not _is_url(url) and not (url.startswith("/") and not url.startswith("//")):
        raise ConfigError(
            f"target.metrics.url: {_public_url(metrics.url)!r} is not a URL: write https://host:port/metrics, "
            f"or a path on the run's host such as /metrics"
        )
    headers = _fill_all("target.metrics.headers", metrics.headers, environ)
    return msgspec.structs.replace(metrics, url=url, headers=headers)


def public(target: Target) -> dict[str, Any]:
    """A target as it may be stored and shown: without header values, and without user, password or query of a URL."""
    shown: dict[str, Any] = msgspec.to_builtins(target, enc_hook=str)
    if target.headers:
        shown["headers"] = dict.fromkeys(target.headers, "…")
    if target.metrics is not None:
        shown["metrics"]["url"] = _public_url(target.metrics.url)
        if target.metrics.headers:
            shown["metrics"]["headers"] = dict.fromkeys(target.metrics.headers, "…")
    return shown


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        return False


def _public_url(url: str) -> str:
    """Without user, password and query; variables stay as they are written."""
    return re.sub(r"[?#].*", "?…", re.sub(r"//[^/?#]*@", "//…@", url), flags=re.DOTALL)


def _fill(place: str, text: str, environ: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ConfigError(
                f"{place}: the environment has no variable {match[1]!r}; "
                f"set it, or take ${{{match[1]}}} out of the config"
            )
        return environ[match[1]]

    return _VARIABLE.sub(value_of, text)


def _fill_all(place: str, headers: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    filled = {name: _fill(f"{place}.{name}", value, environ) for name, value in headers.items()}
    for name, value in filled.items():
        if "\n" in value or "\r" in value:
            raise ConfigError(f"{place}.{name}: a header's value cannot hold a line break")
    return filled
