"""A program that reads the alert as JSON from its standard input. Exit code 0 means that it has taken the alert."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress

from streamgauge.harness.config.alerts import Command
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt, Failed
from streamgauge.harness.monitor.alerts.receivers.document import body

# The monitor's own environment holds the keys of its targets.
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ")


def check(table: Command) -> None:
    """ConfigError if there is no such program: nobody would be told."""
    path = (os.environ | table.environment).get("PATH")
    if shutil.which(table.command[0], path=path) is None:
        raise ConfigError(f"[[alert]] {table.called!r}: no program {table.command[0]!r} here that may be run")


def send(table: Command, attempt: Attempt) -> None:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | table.environment
    try:
        process = subprocess.Popen(
            table.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except OSError as fault:
        raise Failed(f"cannot be started: {fault.strerror}") from None
    try:
        process.communicate(body(attempt), table.timeout / 1e9)
    except subprocess.TimeoutExpired:
        raise Failed(f"did not end within {table.timeout}, and was ended", may_have_arrived=True) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise Failed(f"ended with exit code {process.returncode}", may_have_arrived=True)
