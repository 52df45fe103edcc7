"""`doctor` on a server whose streams stand still while another question begins: by its fault, or once by chance."""

import re
import threading
import time

import pytest

from tests.support.busy import first
from tests.support.diagnosed import diagnosed, says
from tests.support.hostile import CHUNKED, DONE, LAST, Peer, chunk, scripted
from tests.support.late import Late

result = Late("streamgauge.harness.doctor.result")

STILL = 1.0  # s
_LONG = 5_000  # bytes: only the request with the long prompt has more
_TOKEN = chunk(b'data: {"choices":[{"delta":{"content":"word"},"finish_reason":null}]}\n\n')
_SAYS = r"a stream's longest gap: (\S+) ms while another question began, and (\S+) ms when both were asked again"
_STOP = chunk(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n')


class Server:
    """Reads a long prompt for a while, in which none of its streams goes on."""

    def __init__(self, stops: int) -> None:
        self._stops = stops  # so many times; then it stands still no more
        self._reading = threading.Lock()
        self.prompts: list[bytes] = []  # the long ones

    def __call__(self, peer: Peer) -> None:
        while request := peer.request():
            if len(request) > _LONG:
                self.prompts.append(request)
                self._read()
            peer.send(CHUNKED)
            for _ in range(40):
                with self._reading:
                    peer.send(_TOKEN)
                time.sleep(0.02)
            peer.send(_STOP, chunk(DONE), LAST)

    def _read(self) -> None:
        # Of three long prompts, the second is asked alone: it stops nobody.
        if len(self.prompts) != 2 and self._stops:
            self._stops -= 1
            with self._reading:
                time.sleep(STILL)


@pytest.mark.parametrize("stops", [1, 2])
def test_who_stands_still_while_another_question_begins_is_asked_again_before_that_is_told(stops: int) -> None:
    server = Server(stops)
    with first(), scripted(server) as serving:
        found = diagnosed(serving.url, experiments=("ordinary", "heavy"))
    assert len(server.prompts) == 3
    longest = re.fullmatch(_SAYS, says(found, "undisturbed"))
    assert longest is not None, says(found, "undisturbed")
    once, again = (float(ms.replace(",", "")) for ms in longest.groups())
    assert once > 1e3 * STILL * 0.9, "but for the token that was on its way"
    assert (again > 1e3 * STILL * 0.9) == (stops == 2)
    # Where a busy machine paused the second look for so long, the warning is right.
    assert (found.status_of("undisturbed") is result.Status.WARN) == (again >= 250)
