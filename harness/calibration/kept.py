"""The certificate of this machine in a file of the user's state folder, where later runs find it.

The file is not trusted: its size is bounded, its content is checked, and a certificate that was made on another
machine, or with other versions, is never used.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from streamgauge.harness.calibration import machine
from streamgauge.harness.errors import MachineError, StoreError
from streamgauge.harness.record.certificate import Certificate

_MOST_BYTES = 1 << 20
CALIBRATE = "run `streamgauge calibrate`"


class Known(NamedTuple):
    certificate: Certificate | None  # None: there is none that is valid here
    why: str  # why not, and what to do, a sentence; "" if there is one

    @property
    def sentence(self) -> str:
        return "; ".join(self.certificate.sentences()) if self.certificate else self.why


def path() -> Path:
    """MachineError if this user has no home folder."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "")
    if not state.is_absolute():  # the XDG specification says to ignore relative paths
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError:
            raise MachineError("this user has no home folder: set HOME or XDG_STATE_HOME to a folder") from None
    return state / "streamgauge" / "certificate.json"


@contextmanager
def only_calibration() -> Iterator[None]:
    """While it lasts, no second calibration of this user begins: each would measure the other.

    MachineError if one runs. StoreError if the certificate could not be kept: better now than after the measurement.
    """
    lock = path().with_name("calibrating")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as fault:
        raise _unwritable(lock.parent, fault) from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError("another calibration is running: two would disturb each other; wait for it") from None
        if path().is_dir():
            raise StoreError(f"{path()}: is a folder, and the certificate belongs there; remove it")
        yield
    finally:
        os.close(held)


def keep(certificate: Certificate) -> None:
    """StoreError if it cannot be written. The file is replaced whole or not at all."""
    place = path()
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(document(certificate))
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as fault:
        raise _unwritable(place, fault) from None


def document(certificate: Certificate) -> bytes:
    return msgspec.json.format(msgspec.json.encode(certificate), indent=2) + b"\n"


def known() -> Known:
    """This machine's certificate, or why there is none that is valid here and now. Raises nothing."""
    try:
        place = path()
        certificate = msgspec.json.decode(_content(place), type=Certificate)
    except FileNotFoundError:
        return Known(None, f"not calibrated: {CALIBRATE}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        return Known(None, f"not calibrated: {place} is no certificate of this version ({fault}); {CALIBRATE}")
    except OSError as fault:
        return Known(
            None, f"not calibrated: {place} cannot be read: {fault.strerror or fault}; remove it, and {CALIBRATE}"
        )
    except MachineError as fault:
        return Known(None, f"not calibrated: {fault}")
    here = machine.facts()
    differing = [
        f"{name} was {certificate.valid_for.get(name, 'unknown')}, is {here.get(name, 'unknown')}"
        for name in [*here, *(certificate.valid_for.keys() - here.keys())]
        if certificate.valid_for.get(name) != here.get(name)
    ]
    if differing:
        return Known(None, f"the calibration of {certificate.day} does not apply: {differing[0]}; {CALIBRATE} again")
    return Known(certificate, "")


def _content(place: Path) -> bytes:
    """OSError if it is no ordinary file, or too large for a certificate."""
    file = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without O_NONBLOCK, a FIFO would stop us here
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("it is no ordinary file")
        content = opened.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(f"it is larger than {_MOST_BYTES:,} bytes")
    return content


def _unwritable(place: Path, fault: OSError) -> StoreError:
    return StoreError(
        f"{place}: cannot be written: {fault.strerror}; set XDG_STATE_HOME to a folder that can, or correct its rights"
    )
