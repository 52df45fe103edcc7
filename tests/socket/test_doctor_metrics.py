"""`doctor` and pages of counters that are no good: nothing passes by them, and what is wrong with them is said."""

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from gevent.pool import Pool

from tests.support.diagnosed import diagnosed, says
from tests.support.hostile import CHUNKED, DONE, LAST, Peer, chunk, scripted

TOKENS, EACH = 100, 0.02  # of an answer; s
_WORD = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
_STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_PAGE = "vllm:num_requests_running %d\nvllm:generation_tokens_total %d\n"
_OTHERS = "".join(f'other{{label="{number}"}} {number}\n' for number in range(20_000))  # 500 KB


class Page(NamedTuple):
    says: str  # a part of the evidence
    text: str = _PAGE  # with places for the answers under way and what is counted
    head: str = "HTTP/1.1 200 OK\r\n"
    missing: int = 0  # bytes at the end that do not come
    counts: str = "tokens"


PAGES = {
    "tokens": Page("the server generated"),
    "labels that lie": Page(
        "the server generated", 'vllm:num_requests_running{a="} 9"} %d\nvllm:generation_tokens_total{a="\\"} 7"} %d\n'
    ),
    "questions": Page("may count something else", counts="questions"),
    "nothing": Page("it went up by 0", counts="nothing"),
    "half of it": Page("the metrics page did not come whole", missing=9),
    "many others": Page("the server generated", _OTHERS + _PAGE),
    "too much": Page("the metrics page did not come whole", 3 * _OTHERS + _PAGE),
    "no number": Page("no numbers for them", "vllm:num_requests_running NaN # %d\nvllm:generation_tokens_total %d\n"),
    "other names": Page("no counters that are known", "tgi_batch_current_size %d\ntgi_generated_tokens %d\n"),
    "not there": Page("HTTP 404 for", head="HTTP/1.1 404 Not Found\r\n"),
    "a reset": Page("no answer for", head=""),
}
GOOD = ("tokens", "many others", "labels that lie")


class Counting:
    """A server that stops when its person leaves, with such a page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lock = threading.Lock()
        self._counts = {"running": 0, "tokens": 0, "questions": 0, "nothing": 0}

    def __call__(self, peer: Peer) -> None:
        while request := peer.request():
            if b" /metrics " not in request.split(b"\r\n")[0]:
                self._answer(peer)
            elif not self._page.head:
                peer.reset()
                return
            else:
                body = (self._page.text % (self._counts["running"], self._counts[self._page.counts])).encode()
                head = f"{self._page.head}content-length: {len(body)}\r\n\r\n"
                peer.send(head.encode() + body[: len(body) - self._page.missing])
                if self._page.missing:
                    peer.fin()
                    return

    def _count(self, name: str, by: int = 1) -> None:
        with self._lock:
            self._counts[name] += by

    def _answer(self, peer: Peer) -> None:
        self._count("questions")
        self._count("running")
        try:
            peer.send(CHUNKED)
            for _ in range(TOKENS):
                peer.send(chunk(_WORD))
                self._count("tokens")
                threading.Event().wait(EACH)
            peer.send(chunk(_STOP), chunk(DONE), LAST)
        except OSError:
            return
        finally:
            self._count("running", -1)


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """Of each page, each of a server of its own. They mostly wait."""
    with ExitStack() as stack:
        urls = {name: stack.enter_context(scripted(Counting(page))).url for name, page in PAGES.items()}
        looked = Pool(5).map(lambda url: diagnosed(url, experiments=("ordinary", "leave")), urls.values())
        yield dict(zip(urls, looked, strict=True))


@pytest.mark.parametrize("name", PAGES)
def test_only_counters_that_counted_the_answer_show_that_it_stopped(found: dict[str, Any], name: str) -> None:
    told = says(found[name], "leaving")
    assert (found[name].status_of("leaving"), PAGES[name].says in told) == (
        "pass" if name in GOOD else "unknown",
        True,
    ), told


def test_each_request_is_shown_with_the_path_that_was_asked(found: dict[str, Any]) -> None:
    asked = {name: re.sub("^http://[^/]*", "", seen.url) for name, seen in found["tokens"].evidence.seen.items()}
    assert (asked["as_is"], asked["metrics_before"]) == ("/v1/chat/completions", "/metrics")
