"""The exit codes of the commands."""

from enum import IntEnum
from typing import Literal

ForInconclusive = Literal["pass", "fail"]  # the choices of --inconclusive: exit with MET or MISSED instead


class Exit(IntEnum):
    MET = 0  # every rule is met, and nothing regressed
    MISSED = 1  # a rule is missed, or a metric regressed
    MISTAKE = 2  # the call or the config is wrong, or the command could not do its work: the error message says why
    INCONCLUSIVE = 3  # too few samples to judge, or an invalid run


STOPPED = 130  # as a shell has it after Ctrl-C

VERDICTS = frozenset({Exit.MET, Exit.MISSED, Exit.INCONCLUSIVE})  # the run ended and was judged


def of_inconclusive(inconclusive: ForInconclusive | None, *, invalid: bool) -> Exit:
    """The exit code of an inconclusive or invalid result. `pass` accepts an inconclusive result, but no invalid one."""
    if inconclusive == "fail":
        return Exit.MISSED
    return Exit.MET if inconclusive == "pass" and not invalid else Exit.INCONCLUSIVE
