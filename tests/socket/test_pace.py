"""How an answer's chunks came, from the socket to the figures: a fast model, and a proxy that holds answers back."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from streamgauge.harness.drive import network
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support import holding_proxy
from tests.support.hostile import CHUNKED, DONE, LAST, Peer, Script, ask, chunk, client, scripted, token
from tests.support.record import judged

pytestmark = pytest.mark.usefixtures("reader")
PERSONS = 12


def paced(tokens: int, seconds: float) -> Script:
    """The script that answers each request with so many tokens, one in each write, with this time between them."""

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(CHUNKED)
            for number in range(tokens):
                peer.send(chunk(token(number)))
                time.sleep(seconds)
            peer.send(chunk(b'data: {"done": true, "output_tokens": %d}\n\n' % tokens + DONE), LAST)

    return script


def streams_of(url: str, persons: int, link: str = "direct") -> list[StreamObservation]:
    """One stream of each of these people, all at once."""

    def stream() -> StreamObservation:
        person = client(url)
        try:
            return ask(person, link=network.find(link))
        finally:
            person.close()

    asking = [gevent.spawn(stream) for _ in range(persons)]
    gevent.joinall(asking, raise_error=True)
    return [each.value for each in asking]


def reads_with_chunks(seen: StreamObservation) -> int:
    return len({each.at for each in seen.chunks if each.kind == "text"})


# Fast models


@pytest.mark.timing
@pytest.mark.parametrize("link", ["direct", "wifi"])
def test_the_gaps_of_a_fast_model_are_its_own(tmp_path: Path, link: str) -> None:
    with scripted(paced(200, 0.0003)) as server:
        (seen,) = streams_of(server.url, 1, link)
        sent = server.peers[0].sent
    result = judged(tmp_path / "one.db", [seen])
    reads = reads_with_chunks(seen)
    assert result.metrics["itl_wire"].n == reads - 1
    assert result.metrics["itl"].n == reads - 1
    assert result.coalesced == 200 - reads, "chunks of one read, and no others"
    arrived = [each.at for each in seen.chunks if each.kind == "text"]
    first = arrived.count(arrived[0])  # a read has the stamp of the last chunk in it
    (first_begun, first_done), (last_begun, last_done) = sent[first], sent[200]  # ns; sent[0] has the headers
    mean = result.metrics["itl_wire"].mean
    assert mean is not None
    # 5 ms: a kernel under load may leave the receiver's half for a moment later.
    assert last_begun - first_done - 5_000_000 < mean * 1e6 * (reads - 1) < last_done - first_begun + 5_000_000


# A proxy that holds answers back


@contextlib.contextmanager
def holding(origin: int, piece: int) -> Iterator[str]:
    command = [sys.executable, holding_proxy.__file__, str(origin), str(piece)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(proxy.stdout.readline())}"
        finally:
            proxy.kill()


def held_back(tmp_path: Path, piece: int) -> Judgement:
    rules = ("p50(tpot) < 1s", "p50(itl) < 1s", "p50(stall_ratio) < 5%", "error_rate < 40%")
    with scripted(paced(60, 0.002)) as server, holding(server.port, piece) as url:
        streams = streams_of(url, PERSONS)
    assert {seen.outcome for seen in streams} == {Outcome.COMPLETED}
    assert all(seen.content_chunks == 60 and seen.output_tokens == 60 for seen in streams)
    return judged(tmp_path / "one.db", streams, *rules)


@pytest.mark.timing
def test_an_answer_that_a_proxy_held_back_has_no_pace_and_its_run_is_valid(tmp_path: Path) -> None:
    result = held_back(tmp_path, 1_000_000)
    assert result.validity is Validity.VALID, result.reasons
    *course, errors = result.verdicts
    assert [verdict.status for verdict in course] == [RuleStatus.INCONCLUSIVE] * 3
    assert {verdict.reason for verdict in course} == {
        f"all chunks of {PERSONS} streams arrived in one read each: the answer was not streamed"
    }
    assert errors.status is RuleStatus.MET
    assert f"{PERSONS} of {PERSONS} streams brought the whole answer at once" in " ".join(result.reasons)


@pytest.mark.timing
@pytest.mark.parametrize("piece", [0, 1_000], ids=["a write for each chunk", "writes of 1,000 bytes"])
def test_a_proxy_that_releases_an_answer_in_pieces_is_not_the_generator_s_fault(tmp_path: Path, piece: int) -> None:
    result = held_back(tmp_path, piece)
    assert result.validity is Validity.VALID, result.reasons
    assert RuleStatus.MISSED not in {verdict.status for verdict in result.verdicts}
