"""Where the monitor's pages are served: by default for this machine only."""

import ipaddress
import re
from typing import NamedTuple

from streamgauge.harness.errors import ConfigError

TOKEN = "STREAMGAUGE_STATUS_TOKEN"  # noqa: S105 - the variable's name
_WRITTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:]*)):(?P<port>\d{1,5})")
_FEWEST = 16  # characters of a token


class Address(NamedTuple):
    host: str
    port: int

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach it."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse(written: str, token: str | None) -> Address:
    """`:9464` is this machine only. ConfigError for what is no address, and for an exposed one without a token."""
    found = _WRITTEN.fullmatch(written)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise ConfigError(f"--http {written[:60]!r}: write :PORT for this machine only, or HOST:PORT")
    address = Address(found["six"] or found["host"] or "127.0.0.1", int(found["port"]))
    if token is not None and len(token) < _FEWEST:
        raise ConfigError(f"{TOKEN} has fewer than {_FEWEST} characters; take a long one: openssl rand -hex 32")
    if address.exposed and token is None:
        raise ConfigError(
            f"--http {written}: others could read the pages: set {TOKEN} to a token of {_FEWEST} characters or more, "
            f"or write :{address.port} for this machine only"
        )
    return address
