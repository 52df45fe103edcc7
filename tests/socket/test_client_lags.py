"""When a library gave each chunk on, beside when it arrived."""

import shutil
import ssl
import statistics
import threading
import time
from pathlib import Path

import gevent
import numpy as np
import pytest
from gevent.pool import Pool

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile
from streamgauge.harness.drive import network
from streamgauge.harness.drive.wire.stamps import kernel_stamps
from streamgauge.harness.judge.measure.measurements import measure
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, Kind
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.command import PATIENCE
from tests.support.hostile import (
    CHUNKED,
    LAST,
    Peer,
    asked,
    certificate,
    chunk,
    content,
    scripted,
)
from tests.support.record import MS, a_run, database, observation
from tests.support.stacks import END, LIBRARIES, PING, START, WHOLE, ask, delta, observe, person, serve

# What the library handed on


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_content_chunk_has_the_time_when_the_library_handed_it_on(name: str) -> None:
    kinds = [
        delta(),
        delta("thinking_delta", thinking="hm"),
        delta("input_json_delta", partial_json="{"),
        delta(text=""),
    ]
    pieces = [START, *kinds, PING, delta(), END]
    with scripted(asked(CHUNKED, *map(chunk, pieces), LAST)) as server:
        seen = observe(name, server.url)
    handed = [each.handed_at for each in seen.chunks if each.kind in CONTENT]
    known = [moment for moment in handed if moment is not None]
    assert (seen.outcome, len(known), len(handed)) == (Outcome.COMPLETED, 4, 4)
    assert known == sorted(known)
    assert all(each.handed_at is None for each in seen.chunks if each.kind not in CONTENT)
    assert all(each.handed_at >= each.perceived_at for each in seen.chunks if each.handed_at is not None)


def test_the_wire_client_records_no_client_lag() -> None:
    with scripted(asked(WHOLE)) as server:
        assert {each.handed_at for each in observe("wire", server.url).chunks} == {None}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_busy_application_delays_the_handing_on_and_not_the_arrival(name: str) -> None:
    """The overhead is what the application saw later than the wire, whatever the reason."""
    clock = RunClock.starting_at(time.time_ns())
    begun, ready, sent = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED, chunk(START))
        begun.set()
        assert ready.wait(PATIENCE)
        peer.send(chunk(delta()))
        time.sleep(0.05)
        sent.set()
        if kernel_stamps():
            peer.until_read()  # one read of two segments has the stamp of the second
        peer.send(chunk(END), LAST)

    def busy() -> None:
        while not begun.is_set():
            gevent.sleep(0.001)
        ready.set()
        sent.wait(PATIENCE)  # not gevent's: the loop stands still

    with scripted(script) as server:
        who = person(name, server.url, clock=clock)
        other = gevent.spawn(busy)
        seen = ask(who)
        other.get()
        who.close()
    (first,) = [each for each in seen.chunks if each.kind in CONTENT]
    assert first.handed_at is not None
    if kernel_stamps():
        assert first.handed_at - first.at > 45_000_000


def test_a_slow_link_delays_the_person_and_adds_no_client_lag() -> None:
    far = network.find("far", {"far": Profile(rtt=Duration.parse("3s"))})
    with scripted(asked(WHOLE)) as server:
        people = [person(name, server.url) for name in LIBRARIES]
        records = Pool(len(people)).map(lambda who: ask(who, link=far), people)
        for who in people:
            who.close()
    for name, seen in zip(LIBRARIES, records, strict=True):
        lags = [each.handed_at - each.perceived_at for each in seen.chunks if each.handed_at is not None]
        assert seen.outcome is Outcome.COMPLETED, name
        assert all(each.perceived_at - each.at >= 1_500_000_000 for each in seen.chunks), name
        assert 0 <= statistics.median(lags) < 1_500_000_000, name  # half the link's round trip: it is not among them


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")
@pytest.mark.usefixtures("stamping")
@pytest.mark.parametrize("name", LIBRARIES)
def test_over_tls_the_stamps_are_also_those_of_the_socket(name: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    with scripted(serve, tls=context) as server:
        who = person(name, server.url, verify=False)
        seen = [ask(who), ask(who)]
        who.close()
        assert len(server.peers) == 1
        strict = observe(name, server.url)
    assert [each.outcome for each in seen] == [Outcome.COMPLETED] * 2
    assert seen[0].secured_at is not None
    assert (seen[0].unstamped_reads, content(seen[0])) == (0 if kernel_stamps() else seen[0].reads, 3)
    assert strict.outcome is Outcome.UNREACHABLE
    assert strict.detail.startswith("TLS: the certificate does not verify")


# What is made of it


def handed_on(lags: list[float | None], outcome: Outcome = Outcome.COMPLETED) -> StreamObservation:
    """A stream with a ping and then a chunk every 20 ms, each handed on so many ms later; None: not handed on."""
    chunks = [Chunk(0, Kind.PING, 0, 9, 0)]
    for place, lag in enumerate(lags, 1):
        at = place * 20 * MS
        chunks.append(Chunk(at, Kind.TEXT, 4, 90, at, None if lag is None else at + round(lag * MS)))
    return observation([("text", 20)], arrivals=arrivals.encode(chunks), outcome=outcome)


def test_client_overhead_covers_every_content_chunk_that_was_handed_on(tmp_path: Path) -> None:
    streams = [
        handed_on([0.25, 0.5]),
        handed_on([1, None], Outcome.CANCELLED),
        handed_on([2, None], Outcome.RESET),
        handed_on([None]),
    ]
    with Store.open(database(tmp_path / "one.db", streams)) as store:
        found = measure(store.streams(a_run().id)).distribution("client_overhead")
    assert np.repeat(found.values, found.counts).tolist() == [0.25, 0.5, 1, 2]
    assert np.repeat(*found.gated()).tolist() == [0.25, 0.5, 1, 2]
    assert found.missing == 1
