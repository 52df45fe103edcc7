"""The parts of a config that a master sends to its workers, as JSON."""

from collections.abc import Mapping

import msgspec

from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.schema import Profile, Target


def encode_target(target: Target) -> bytes:
    """`${NAME}` goes as it is written, so that each machine fills in its own environment's value."""
    return msgspec.json.encode(target, enc_hook=str)


def decode_target(data: bytes) -> Target:
    return msgspec.json.decode(data, type=Target, dec_hook=decode)


def encode_networks(networks: Mapping[str, Profile]) -> bytes:
    """A trace goes as its path: each machine reads its own file."""
    return msgspec.json.encode(networks, enc_hook=str)


def decode_networks(data: bytes) -> dict[str, Profile]:
    return msgspec.json.decode(data, type=dict[str, Profile], dec_hook=decode)
