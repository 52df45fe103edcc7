"""The tables [[alert]] with `${NAME}` filled in from the environment. They hold secrets: do not store or show them."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from streamgauge.harness.config.alerts import AnyReceiver, Email, is_address
from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.config.urls import is_url
from streamgauge.harness.errors import ConfigError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Filled(NamedTuple):
    receivers: tuple[AnyReceiver, ...]
    redaction: Redaction  # of all that was filled in


def filled(tables: Sequence[AnyReceiver], environ: Mapping[str, str] = os.environ) -> Filled:
    """ConfigError for a variable that is missing, empty or no URL where a URL belongs; it never quotes a value."""
    variables = Variables(environ)
    receivers = tuple(_filled(table, f"alert[{number}]", variables) for number, table in enumerate(tables))
    return Filled(receivers, Redaction(variables.used))


def _filled(table: AnyReceiver, place: str, variables: Variables) -> AnyReceiver:
    written = msgspec.to_builtins(table, enc_hook=str)
    values = variables.fill(place, written)
    for key, value in _texts(values):
        if _CONTROL.search(value):
            raise ConfigError(f"{place}.{key}: cannot hold a line break or another control character")
        if not value.strip() and not key.startswith(("labels.", "environment.", "command.")):
            raise ConfigError(f"{place}.{key}: is empty; set it, or take the key out of the config")
    if "url" in written and table.kind != "apprise" and not is_url(values["url"]):
        raise ConfigError(f"{place}.url: {written['url']!r} is not a URL: write https://host/path")
    if isinstance(table, Email):
        for key, address in (*(("to", each) for each in values["to"]), ("from", values["from"])):
            if not is_address(address):
                raise ConfigError(f"{place}.{key}: the variable holds no address; write one as in oncall@example.org")
    return msgspec.convert(values, type(table), dec_hook=decode)


def _texts(values: object, path: str = "") -> list[tuple[str, str]]:
    if isinstance(values, str):
        return [(path, values)]
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [each for key, value in inside for each in _texts(value, f"{path}.{key}".lstrip("."))]
