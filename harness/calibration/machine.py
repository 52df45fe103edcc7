"""The machine and the software that a calibration is valid for."""

import platform
import ssl
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from streamgauge import __version__
from streamgauge.harness import cores
from streamgauge.harness.native import library

_PACKAGES = ("locust", "gevent", "msgspec", "numpy")  # what the load generator's speed depends on
_CPUINFO = Path("/proc/cpuinfo")
_LONGEST = 200  # characters of one fact


def facts() -> dict[str, str]:
    """If any of these changes, a calibration is no longer valid."""
    found = {
        "machine": platform.node(),
        "processor": f"{_processor()}, {cores.usable()} cores",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "streamgauge": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        **{name: metadata.version(name) for name in _PACKAGES},
        "reader": "compiled" if library.LIBRARY else "python",
    }
    return {name: fact[:_LONGEST] for name, fact in found.items()}


def _processor() -> str:
    with suppress(OSError, UnicodeDecodeError), _CPUINFO.open() as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown processor"
