"""A resumable stream in a real browser, with the real server: dropped, resumed, followed, stopped."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.relay import Relay, relay
from tests.support.reference import ReferenceServer, reference_server

PACE = ("--preset", "exact", "--ttft", "5ms", "--itl", "2ms", "--tokens", "80", "--resumable", "5m")


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*PACE) as running:
        yield running


@pytest.fixture(scope="module")
def relayed(server: ReferenceServer) -> Iterator[Relay]:
    with relay(server.url) as running:
        yield running


def asked(page: Page) -> Locator:
    """The newest turn, once the question has been sent."""
    box = page.get_by_label("Your question")
    box.fill("How deep is the river?")
    box.press("Enter")
    return page.locator(".turn").last


def words(turn: Locator) -> list[str]:
    return re.findall(r"\w+", turn.locator(".text").inner_text())


@pytest.mark.parametrize("fault", ["reset@20", "cut@20", "close@20", "cut_event@20", "repeat@20"])
def test_a_dropped_answer_is_resumed_and_becomes_whole(
    page: Page, server: ReferenceServer, relayed: Relay, fault: str
) -> None:
    page.goto(relayed.url)
    page.get_by_label("Fault").fill("")
    turn = asked(page)
    expect(turn.locator(".meta")).to_contain_text("complete")
    whole = words(turn)
    page.get_by_label("Fault").fill(fault)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    relayed.may_end.clear()
    turn = asked(page)
    expect(turn.locator(".text")).to_contain_text(re.compile(r"\w+"))  # otherwise there is nothing to resume from
    relayed.may_end.set()
    expect(turn.locator(".meta")).to_contain_text("80 tokens · complete")
    assert words(turn) == whole
    assert server.truth()[-1]["outcome"] == "completed"


def test_stopping_cancels_a_resumable_generation_at_once(page: Page, server: ReferenceServer) -> None:
    page.goto(server.url)
    page.get_by_label("Tokens", exact=True).fill("100000")
    turn = asked(page)
    expect(turn.locator(".text")).to_contain_text(re.compile(r"\w+"))
    page.keyboard.press("Escape")
    expect(turn.locator(".meta")).to_contain_text("stopped by you")
    assert server.truth()[-1]["outcome"] == "cancelled"  # waits until no answer is active


def test_an_event_source_follows_an_answer_and_stops_at_its_end(page: Page, server: ReferenceServer) -> None:
    page.goto(server.url)
    told = page.evaluate(
        """async () => {
          const body = JSON.stringify({ messages: [{ role: "user", content: "How deep is the river?" }] });
          const headers = { "content-type": "application/json" };
          const response = await fetch("/chat/stream", { method: "POST", headers, body });
          const url = `/streams/${response.headers.get("x-request-id")}/events`;
          const source = new EventSource(url);
          const seen = { datas: [], ids: [] };
          source.onmessage = ({ data, lastEventId }) => { seen.datas.push(data); seen.ids.push(lastEventId); };
          await new Promise((closed) => {
            source.onerror = () => source.readyState === EventSource.CLOSED && closed();  // told by a 204
          });
          return { ...seen, whole: await response.text() };
        }"""
    )
    blocks = [block.split("\n") for block in told["whole"].removesuffix("\n\n").split("\n\n")]
    assert told["ids"] == [line[4:] for block in blocks for line in block if line.startswith("id: ")]
    assert told["datas"] == ["\n".join(line[6:] for line in block if line.startswith("data: ")) for block in blocks]
    assert told["datas"][-1] == "[DONE]"
