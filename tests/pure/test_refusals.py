"""Refused streams: a limit of the load is told from a fixed share, with where it begins, and else the page says that it
does not know."""

import dataclasses
import re

import pytest

from streamgauge.harness.judge.verdict.findings import Certainty, Finding
from tests.support import simulated_faults as faults
from tests.support.simulated import Ask, Server, Users, asks, found

SERVER = Server(ttft=0.7, itl=0.025, tokens=(60, 140))
CROWD = Users(at_once=40, ramp=10, think=2.5, seconds=75)


def crowd(change: faults.Change, users: Users = CROWD, seed: int = 11) -> list[Ask]:
    made = asks(seed, SERVER, users)
    change(made)
    return made


def refused(change: faults.Change, users: Users = CROWD, seed: int = 11) -> Finding:
    (finding,) = (
        each for each in found(crowd(change, users, seed)).values() if each.id in {"rate_limited", "overloaded"}
    )
    return finding


def begins(finding: Finding) -> int:
    return int(finding.evidence[2].value)


@pytest.mark.parametrize("at_once", [12, 16, 20])
@pytest.mark.parametrize("status", [429, 529])
def test_a_limit_of_streams_at_once_is_told_with_where_it_begins(at_once: int, status: int) -> None:
    finding = refused(faults.refused_beyond(at_once, status))
    assert re.search(r"from about \d+ open at once on", finding.advice)
    assert abs(begins(finding) - at_once) <= 1
    below, above = finding.evidence[3:5]
    assert above.value > 4 * below.value
    assert finding.certainty in {Certainty.LIKELY, Certainty.SURE}


@pytest.mark.parametrize(("most", "seconds", "within"), [(8, 1, "a second"), (200, 60, "a minute")])
def test_a_limit_of_the_rate_is_told_with_where_it_begins(most: int, seconds: float, within: str) -> None:
    finding = refused(faults.refused_beyond_rate(most, seconds, 429))
    assert f"begun within {within} on" in finding.advice
    assert abs(begins(finding) - most) <= 1


def test_a_limit_that_alone_says_who_is_refused_is_sure() -> None:
    made = crowd(faults.unchanged, Users(at_once=6, ramp=1, think=1, seconds=60))
    for start in range(10, 60, 10):
        burst = [
            dataclasses.replace(ask, due=start + place / 100, sent=start + place / 100)
            for place, ask in enumerate(made[:60])
        ]
        for ask in burst[30:]:
            faults.refuse(ask, 429)
        made += burst
    told = found(made)["rate_limited"]
    assert "begun within a second on: raise it" in told.advice
    assert told.certainty is Certainty.SURE


@pytest.mark.parametrize(("since", "until"), [(40, 90), (30, 38)])
def test_what_is_refused_at_a_time_is_told_with_it(since: float, until: float) -> None:
    """Also where refused users come again sooner, which is a higher load."""
    made = crowd(faults.unchanged)
    made += [
        dataclasses.replace(ask, due=since + place / 20, sent=since + place / 20)
        for place, ask in enumerate(made[:160])
    ]
    for ask in made:
        if since <= ask.due < until:
            faults.refuse(ask, 429)
    told = found(made)["rate_limited"]
    assert told.sentence.endswith(f"all between {since} s and {min(until, 75)} s of the run")
    assert "for some time only" in told.advice
    assert told.certainty is Certainty.LIKELY


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("share", [0.15, 0.3])
def test_a_fixed_share_is_told_from_a_limit_of_the_load(share: float, status: int) -> None:
    finding = refused(faults.refused(share, status))
    assert "a like share under any load: look for a " in finding.advice
    assert finding.certainty is Certainty.LIKELY
    assert finding.sentence.count(" at 95 %)") == 2, "how sure each share is"
    assert [number.value for number in finding.evidence[2:]] == pytest.approx([share, share], rel=0.4)


def test_too_few_refusals_to_tell_are_told_so() -> None:
    users = Users(at_once=40, ramp=10, think=2.5, seconds=25)
    made = crowd(faults.unchanged, users)
    for place in (20, 60, 100, 140):
        faults.refuse(made[place], 429)
    finding = found(made)["rate_limited"]
    assert finding.sentence.endswith("whether more load refuses more is not known")
    assert "run it with half the users" in finding.advice
    assert finding.certainty is Certainty.POSSIBLE


def test_a_fixed_share_is_hardly_ever_called_a_limit() -> None:
    runs = [refused(faults.refused(0.15, 429), seed=seed) for seed in range(20)]
    assert not [finding for finding in runs if " on: " in finding.advice]


def test_a_run_in_which_all_are_refused_says_nothing_of_the_load() -> None:
    assert refused(faults.refused(1, 429)).certainty is Certainty.POSSIBLE


def test_the_wait_that_the_server_asked_for_is_told_beside_that_of_the_users() -> None:
    made = crowd(faults.refused(0.3, 429))
    assert "asked" not in found(made)["rate_limited"].sentence, "an older run did not record it"
    for ask in made:
        ask.after_refusal = 0.4 if ask.status == 200 else None
    told = found(made)["rate_limited"].sentence
    assert told.endswith("; none said when to come back (retry-after), and the users asked again after 400 ms")
    for ask in made:
        ask.retry_after = 5 if ask.status == 429 else None
    finding = found(made)["rate_limited"]
    assert finding.sentence.endswith("; the server asked to wait 5 s, and the users asked again after 400 ms")
    numbers = {number.what: number.value for number in finding.evidence}
    assert (numbers["asked to wait, median"], numbers["asked again after, median"]) == (5_000, 400)
