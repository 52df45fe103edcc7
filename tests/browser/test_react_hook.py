"""The React hook on top of the streaming client, in a real browser, with a stand-in for React (react.js)."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.scripted_site import DONE, PATIENCE, Post, Site

_PAGE = b"""\
<!doctype html><title>hook</title>
<script type="importmap">{"imports": {"react": "/react.js"}}</script>
<script type="module">
import { mount } from "react";
import { useStreamingChat } from "/static/useStreamingChat.js";
window.chat = mount(() => useStreamingChat({ body: { system: "Be brief." } }));
</script>
"""


@pytest.fixture
def chat(page: Page, hosted: Site) -> Page:
    """A page with the hook mounted as `chat`: its latest result is `chat.result`."""
    hosted.files["/hook"] = ("text/html; charset=utf-8", _PAGE)
    hosted.files["/react.js"] = ("text/javascript", (Path(__file__).parent / "react.js").read_bytes())
    page.goto(f"{hosted.url}/hook")
    page.wait_for_function("window.chat !== undefined")
    return page


def result(chat: Page) -> dict[str, Any]:
    """The result of the last render."""
    shown: dict[str, Any] = chat.evaluate("({ ...chat.result, error: chat.result.error?.message ?? null })")
    return shown


def send(chat: Page, text: str) -> dict[str, Any]:
    """The result, once the answer has ended."""
    chat.evaluate("(text) => chat.result.send(text)", text)
    return result(chat)


def waiting(post: Post) -> None:
    post.begin()
    post.send(b"data: The beginning\n\n")
    post.until_gone()


def test_each_question_sends_the_conversation_before_it(chat: Page, hosted: Site) -> None:
    hosted.answers(lambda post: post.events(b"data: One\n\ndata:  two\n\n", DONE))
    assert result(chat)["messages"] == []
    first = send(chat, "Count.")
    assert [(message["role"], message["content"]) for message in first["messages"]] == [
        ("user", "Count."),
        ("assistant", "One two"),
    ]
    assert (first["status"], first["error"]) == ("ready", None)
    assert first["ttft"] > 0
    send(chat, "Go on.")
    assert hosted.posts[1].body == {
        "system": "Be brief.",
        "stream": True,
        "messages": [
            {"role": "user", "content": "Count."},
            {"role": "assistant", "content": "One two"},
            {"role": "user", "content": "Go on."},
        ],
    }


def test_the_hook_renders_once_per_frame_and_not_once_per_token(chat: Page, hosted: Site) -> None:
    hosted.answers(lambda post: post.events(*[b"data: x\n\n"] * 1000, DONE))
    assert len(send(chat, "Hurry!")["messages"][1]["content"]) == 1000
    frames = chat.evaluate(
        """
        async () => {
          const before = chat.results.length;
          let frames = 0;
          let over = false;
          const count = () => { frames += 1; if (!over) requestAnimationFrame(count); };
          requestAnimationFrame(count);
          await chat.result.send("Again!");
          over = true;
          return [chat.results.length - before, frames];
        }
        """
    )
    renders, seen = frames
    assert renders <= seen + 2  # one for the question and one for the end


def test_stop_keeps_the_text_so_far_and_closes_the_connection(chat: Page, hosted: Site) -> None:
    hosted.answers(waiting)
    chat.evaluate("void chat.result.send('Long?')")
    chat.wait_for_function("chat.result.status === 'streaming'")
    chat.evaluate("chat.result.stop()")
    assert hosted.gone.acquire(timeout=PATIENCE)
    chat.wait_for_function("chat.result.status === 'ready'")
    assert result(chat)["messages"][1]["content"] == "The beginning"
    assert result(chat)["error"] is None


def test_unmounting_stops_the_answer(chat: Page, hosted: Site) -> None:
    hosted.answers(waiting)
    chat.evaluate("void chat.result.send('Long?')")
    chat.wait_for_function("chat.result.status === 'streaming'")
    chat.evaluate("chat.unmount()")
    assert hosted.gone.acquire(timeout=PATIENCE)


def test_another_question_stops_the_answer_that_is_streaming(chat: Page, hosted: Site) -> None:
    hosted.answers(waiting, lambda post: post.events(b"data: Second\n\n", DONE))
    chat.evaluate("void chat.result.send('First?')")
    chat.wait_for_function("chat.result.status === 'streaming'")
    before = chat.evaluate("chat.results.length")
    shown = send(chat, "Second?")
    since = chat.evaluate("(before) => chat.results.slice(before).map(({ status }) => status)", before)
    assert since.index("ready") == len(since) - 1  # the end of the first answer is not reported as that of the second
    assert [message["content"] for message in shown["messages"]] == ["First?", "The beginning", "Second?", "Second"]


def test_an_error_is_reported_and_what_came_before_it_stays(chat: Page, hosted: Site) -> None:
    event = b'event: error\ndata: {"error": {"message": "overloaded"}}\n\n'
    hosted.answers(lambda post: post.events(b"data: Half\n\n", event), lambda post: post.events(b"data: x\n\n", DONE))
    shown = send(chat, "Anything?")
    assert (shown["error"], shown["status"]) == ("The server failed: overloaded.", "ready")
    assert shown["messages"][1]["content"] == "Half"
    assert send(chat, "And now?")["error"] is None


def test_send_and_stop_stay_the_same_functions(chat: Page, hosted: Site) -> None:
    hosted.answers(lambda post: post.events(b"data: x\n\n", DONE))
    assert chat.evaluate(
        """
        async () => {
          const { send, stop } = chat.result;
          await send("Same?");
          return send === chat.result.send && stop === chat.result.stop && chat.results.length > 1;
        }
        """
    )
