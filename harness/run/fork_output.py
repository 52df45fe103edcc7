"""What the workers of `--processes` write to a terminal on which the master has a screen.

They share the terminal, and would write into the screen. So they write into a pipe, and the master writes their lines
above the screen.
"""

import os
import sys

import gevent
from gevent.os import make_nonblocking, nb_read

_MOST = 65_536  # bytes read at once


class ForkOutput:
    """Call it before the first fork. Forks that are made from now on write into the pipe."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self._here = os.getpid()
        self._begun = False
        make_nonblocking(self._reading)
        os.register_at_fork(after_in_child=self._in_child, after_in_parent=self._in_parent)

    def _in_child(self) -> None:
        if os.getppid() == self._here:  # not in the forks of a fork, whose output goes there anyway
            os.dup2(self._writing, 1)
            os.dup2(self._writing, 2)

    def _in_parent(self) -> None:
        if not self._begun and os.getpid() == self._here:
            self._begun = True
            gevent.spawn(self._pass_on)

    def _pass_on(self) -> None:
        """Never returns. A fork that is made before the first switch has this greenlet, too."""
        while os.getpid() == self._here:
            text = nb_read(self._reading, _MOST).decode(errors="replace")
            sys.stderr.write(text)
            sys.stderr.flush()
