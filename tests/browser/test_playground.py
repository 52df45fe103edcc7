"""The playground as a person uses it, in a real browser: with the reference server, and with one that misbehaves."""

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from streamgauge.reference_server.delivery.settings import DELIVERY_SETTINGS
from streamgauge.reference_server.model.settings import MODEL_SETTINGS, SERVER_WIDE
from tests.browser.contrast import LOW_CONTRAST
from tests.browser.scripted_site import DONE, PATIENCE, Post, Site
from tests.browser.window import resize
from tests.support.reference import ReferenceServer, reference_server

PACE = ("--preset", "exact", "--ttft", "5ms", "--itl", "1ms", "--tokens", "60")
NUMBER = r"\d[\d,.]*"


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*PACE) as running:
        yield running


def asked(page: Page, url: str, text: str = "How deep is the river?") -> Locator:
    """The newest turn, once the question has been sent."""
    if not page.url.startswith(url):
        page.goto(url)
    turns = page.locator(".turn")
    before = turns.count()
    box = page.get_by_label("Your question")
    box.fill(text)
    box.press("Enter")
    expect(turns).to_have_count(before + 1)
    return turns.nth(before)


def ended(turn: Locator) -> Locator:
    """The same turn, once its answer has ended."""
    expect(turn).not_to_have_class(re.compile("growing"))
    return turn


def words_told(url: str, text: str) -> list[str]:
    """The words of the server's whole answer to the same question, without Markdown's marks."""
    question = {"messages": [{"role": "user", "content": text}], "stream": False}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/chat/stream", json.dumps(question).encode(), headers)
    with urllib.request.urlopen(request) as response:
        answer: str = json.load(response)["text"]
    return re.findall(r"\w+", re.sub(r"^(```.*|\d+\.)", "", answer, flags=re.MULTILINE))


def test_an_answer_is_shown_whole(page: Page, server: ReferenceServer) -> None:
    turn = ended(asked(page, server.url))
    words = re.findall(r"\w+", turn.locator(".text").inner_text())
    assert words == words_told(server.url, "How deep is the river?")
    # No tokens per second, if a busy machine gave the page the whole answer at once.
    known = rf"^TTFT {NUMBER} ms · ({NUMBER} tokens/s · )?60 tokens · complete$"
    expect(turn.locator(".meta")).to_have_text(re.compile(known))
    expect(page.locator("#ttft")).to_have_text(re.compile(rf"^{NUMBER} ms$"))
    expect(page.locator("#tokens")).to_have_text("60")


def test_an_answer_streams_in_with_its_measurements(page: Page, hosted: Site) -> None:
    shown = threading.Semaphore(0)
    words = ["The", " water", " rises."]

    def answer(post: Post) -> None:
        post.begin()
        for word in words:
            post.send(f"data: {word}\n\n".encode())
            assert shown.acquire(timeout=PATIENCE)
        post.send(b'data: {"done": true, "output_tokens": 9000, "stop_reason": "end_turn"}\n\n', DONE)
        post.end()

    hosted.answers(answer)
    turn = asked(page, hosted.url)
    for count in range(len(words)):
        expect(turn.locator(".text")).to_have_text("".join(words[: count + 1]))
        shown.release()
    known = rf"^TTFT {NUMBER} ms · {NUMBER} tokens/s · 9,000 tokens · complete$"
    expect(ended(turn).locator(".meta")).to_have_text(re.compile(known))
    expect(page.locator("#ttft")).to_have_text(re.compile(rf"^{NUMBER} ms$"))
    expect(page.locator("#speed")).to_have_text(re.compile(rf"^{NUMBER}$"))
    expect(page.locator("#tokens")).to_have_text("9,000")
    expect(page.locator("#itl")).to_have_text(re.compile(rf"^median {NUMBER} ms, longest {NUMBER} ms, n = 2$"))
    assert page.locator("#gaps .usual").get_attribute("d")


def test_the_page_is_usable_with_the_keyboard_alone(page: Page, server: ReferenceServer) -> None:
    page.goto(server.url)
    box = page.get_by_label("Your question")
    expect(box).to_be_focused()
    page.keyboard.type("One line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and another")
    expect(box).to_have_value("One line\nand another")
    page.keyboard.press("Enter")
    expect(page.locator(".question p")).to_have_text("One line\nand another")
    expect(box).to_have_value("")
    expect(box).to_be_focused()
    ended(page.locator(".turn"))
    page.keyboard.press("Enter")  # nothing to send
    expect(page.locator(".turn")).to_have_count(1)


@pytest.mark.parametrize("stop", ["the button", "the key"])
def test_stopping_ends_the_generation_and_keeps_the_text_so_far(page: Page, server: ReferenceServer, stop: str) -> None:
    page.goto(server.url)
    page.get_by_label("Gap between tokens").fill("20ms")
    page.get_by_label("Tokens", exact=True).fill("100000")
    turn = asked(page, server.url)
    expect(turn.locator(".text")).to_contain_text(re.compile(r"\w+"))
    if stop == "the key":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_label("Your question")).to_be_focused()
    expect(ended(turn).locator(".meta")).to_contain_text("stopped by you")
    end = server.truth()[-1]["outcome"]  # waits until no answer is active
    assert end in {"cancelled", "disconnected"}, "what the server hears of first"
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_the_next_question_sends_the_conversation(page: Page, hosted: Site) -> None:
    hosted.answers(lambda post: post.events(b"data: **Deep**\n\n", DONE))
    ended(asked(page, hosted.url, "How deep?"))
    ended(asked(page, hosted.url, "How wide?"))
    assert [message["content"] for message in hosted.posts[1].body["messages"]] == [
        "How deep?",
        "**Deep**",
        "How wide?",
    ]
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#ttft")).to_have_text("–")
    ended(asked(page, hosted.url, "Who are you?"))
    assert len(hosted.posts[2].body["messages"]) == 1


def test_tools_and_thinking_are_shown_as_they_happen(page: Page, server: ReferenceServer) -> None:
    page.goto(server.url)
    page.get_by_label("Think before answering").check()
    page.get_by_label("Use the server’s tools").check()
    page.get_by_label("Tool turns").fill("3")
    turn = ended(asked(page, server.url))
    expect(turn.locator("details.thinking p").first).to_have_text(re.compile(r"\w+"))
    expect(turn.locator("details.thinking p").first).to_be_hidden()  # until it is opened
    expect(turn.locator(".tool").first).to_contain_text(re.compile(rf"(done|failed) after {NUMBER} ms"))
    expect(turn.locator(".tool.busy")).to_have_count(0)


def test_a_running_tool_says_so(page: Page, hosted: Site) -> None:
    def tools(post: Post) -> None:
        post.begin()
        post.send(b'event: tool_start\ndata: {"id": "1", "name": "gauge_level", "input": {"station": "Passau"}}\n\n')
        post.until_gone()

    hosted.answers(tools)
    turn = asked(page, hosted.url)
    expect(turn.locator(".tool.busy")).to_have_text('gauge_level running{"station":"Passau"}')
    page.keyboard.press("Escape")
    expect(ended(turn).locator(".tool")).to_contain_text("left unfinished")


HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>[a](javascript:alert(1))'


def test_markup_from_a_server_is_shown_as_text(page: Page, hosted: Site) -> None:
    tool = json.dumps({"id": "1", "name": HOSTILE, "input": HOSTILE}).encode()
    end = json.dumps({"id": "1", "name": HOSTILE, "result": HOSTILE, "failed": True, "seconds": HOSTILE}).encode()
    fault = json.dumps({"error": {"message": HOSTILE}}).encode()
    text = f"# {HOSTILE}\n\n- {HOSTILE}\n\n**{HOSTILE}** `{HOSTILE}`\n\n```\n{HOSTILE}\n```\n\n{HOSTILE}\n\n"
    lines = "".join(f"data: {line}\n" for line in text.split("\n")).encode()
    hosted.answers(
        lambda post: post.events(
            b"event: thinking\ndata: %b\n\n" % HOSTILE.encode(),
            b"event: tool_start\ndata: %b\n\n" % tool,
            b"event: tool_end\ndata: %b\n\n" % end,
            lines + b"\n",
            b"event: error\ndata: %b\n\n" % fault,
        )
    )
    turn = ended(asked(page, hosted.url, HOSTILE))
    expect(turn.locator(".error p")).to_contain_text(HOSTILE)
    expect(turn.locator(".text pre")).to_have_text(HOSTILE)
    expect(turn.locator(".text h3")).to_have_text(HOSTILE)
    assert page.locator(".turn :is(img, script, a, iframe, svg)").count() == 0
    assert page.title() == "Playground · streamgauge"


def test_nonsense_from_a_server_does_not_break_the_page(page: Page, hosted: Site) -> None:
    documents: list[Any] = [
        {"text": "x", "input_tokens": None, "output_tokens": "many", "stop_reason": {}},
        {"text": "x", "tools": [None, {"id": None, "name": None, "input": None, "seconds": "long"}], "thinking": "y"},
        {"text": "x", "tools": None},
        {"text": None},
        [],
        None,
    ]
    nonsense = [partial(Post.document, status="200 OK", document=document) for document in documents]
    hosted.answers(*nonsense, lambda post: post.events(b"data: Well again.\n\n", DONE))
    for _ in documents:
        ended(asked(page, hosted.url))
    expect(ended(asked(page, hosted.url)).locator(".text")).to_have_text("Well again.")


def test_markdown_looks_the_same_however_it_was_cut_into_tokens(page: Page, hosted: Site) -> None:
    text = (
        "## Three *rules*\n\nKeep **all** `raw`\nlines.\n\n1. one\n2. two\n   goes on\n\n"
        "- a\n  - b\n\n> said\n\n```py\nx = 1\n\n```\nend"
    )
    hosted.files["/text"] = ("text/plain", text.encode())
    page.goto(f"{hosted.url}/blank")
    grown, at_once = page.evaluate(
        """
        async () => {
          const { render } = await import("/static/markdown.js");
          const text = await (await fetch("/text")).text();
          const [grown, atOnce] = [document.createElement("div"), document.createElement("div")];
          for (let end = 1; end <= text.length; end++) render(grown, text.slice(0, end));
          render(atOnce, text);
          return [grown.innerHTML, atOnce.innerHTML];
        }
        """
    )
    assert grown == at_once
    assert re.sub(r' (dir="auto"|tabindex="0")', "", at_once) == (
        "<h3>Three <em>rules</em></h3><p>Keep <strong>all</strong> <code>raw</code>\nlines.</p>"
        '<ol start="1"><li>one</li><li>two goes on</li></ol><ul><li>a</li><li class="deeper">b</li></ul>'
        "<blockquote>said</blockquote><pre><code>x = 1\n</code></pre><p>end</p>"
    )


def test_a_refusal_is_one_sentence_with_the_time_to_wait(page: Page, hosted: Site) -> None:
    busy = {"error": {"message": "all 4 streams are in use; try again"}}
    hosted.answers(
        lambda post: post.document("503 Service Unavailable", busy, retry_after="3600"),
        lambda post: post.document("429 Too Many Requests", busy, retry_after="1"),
        lambda post: post.events(b"data: Here I am.\n\n", DONE),
    )
    turn = ended(asked(page, hosted.url))
    expect(turn.locator(".error p")).to_have_text("The server refused (503): all 4 streams are in use; try again.")
    expect(turn.get_by_role("button")).to_be_disabled()
    expect(turn.get_by_role("button")).to_have_text(re.compile(r"^Try again in 3[56]\d\d s$"))
    again = ended(asked(page, hosted.url)).get_by_role("button", name="Try again", exact=True)
    again.click()  # as soon as it is enabled
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator(".turn .text")).to_have_text("Here I am.")


def test_a_wrong_setting_is_shown_with_the_servers_message(page: Page, server: ReferenceServer) -> None:
    page.goto(server.url)
    page.get_by_label("First token after").fill("soon")
    turn = ended(asked(page, server.url))
    expect(turn.locator(".error p")).to_contain_text("header x-gauge-ttft: 'soon' is not a duration")
    page.get_by_label("First token after").fill("früh")
    turn = ended(asked(page, server.url))
    expect(turn.locator(".error p")).to_contain_text("“First token after” has a character that a request header cannot")


def test_every_setting_is_one_that_the_server_knows(page: Page, hosted: Site) -> None:
    page.goto(hosted.url)
    names = page.locator("input[name^=x-gauge-]").evaluate_all("(inputs) => inputs.map((input) => input.name)")
    known = {f"x-gauge-{name}" for name in (MODEL_SETTINGS.keys() | DELIVERY_SETTINGS.keys()) - SERVER_WIDE}
    assert set(names) <= known | {"x-gauge-fault"}


def test_a_server_with_a_key_shows_the_page_without_it_and_requires_it_for_answers(page: Page) -> None:
    with reference_server(*PACE, "--api-key", "sesame") as guarded:
        turn = ended(asked(page, guarded.url))
        expect(turn.locator(".error p")).to_contain_text("The server refused (401): this server requires its API key")
        page.get_by_label("API key").fill("sesame")
        turn.get_by_role("button", name="Try again").click()
        expect(ended(page.locator(".turn")).locator(".meta")).to_contain_text("complete")


def test_a_dropped_connection_is_shown_and_the_answer_continues(page: Page, hosted: Site) -> None:
    seen = threading.Event()

    def rest(post: Post) -> None:
        assert seen.wait(PATIENCE)
        post.events(b"id: req_1:2\ndata:  flows on.\n\n", DONE)

    hosted.answers(lambda post: post.events(b"retry: 1\nid: req_1:1\ndata: The river\n\n"), rest)
    turn = asked(page, hosted.url)
    expect(turn.locator(".meta")).to_have_text("The answer broke off before its end. Reconnecting, attempt 1.")
    seen.set()
    expect(ended(turn).locator(".text")).to_have_text("The river flows on.")
    assert hosted.posts[1].headers["last-event-id"] == "req_1:1"


def test_an_answer_in_one_piece_on_request(page: Page, server: ReferenceServer) -> None:
    page.goto(server.url)
    page.get_by_label("Answer in one piece, without streaming").check()
    turn = ended(asked(page, server.url))
    expect(turn.locator(".meta")).to_have_text(re.compile(rf"^TTFT {NUMBER} ms · 60 tokens · complete, in one piece$"))


def test_screen_readers_get_paragraphs_and_not_tokens(page: Page, hosted: Site) -> None:
    seen = threading.Event()

    def answer(post: Post) -> None:
        post.begin()
        post.send(b"data: The water\n\n")
        assert seen.wait(PATIENCE)
        post.send(b"data:  is rising.\n\n", b"data:\ndata:\ndata: The end.\n\n", DONE)
        post.end()

    hosted.answers(answer)
    page.goto(hosted.url)
    page.evaluate(
        """
        window.heard = [];
        new MutationObserver((changes) => heard.push(...changes.flatMap((change) => [...change.addedNodes])))
          .observe(document.querySelector("[aria-live=polite]"), { childList: true, subtree: true });
        """
    )
    turn = asked(page, hosted.url)
    expect(turn.locator(".text")).to_have_text("The water")
    seen.set()
    ended(turn)
    expect(page.get_by_role("status")).to_contain_text("The answer is complete.")
    heard = page.evaluate("heard.map((node) => node.textContent)")
    assert heard == ["Waiting for the answer.", "The water is rising.", "The end.", "The answer is complete."]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_and_every_width_fits(page: Page, hosted: Site, scheme: str) -> None:
    tool = b'{"id": "1", "name": "gauge_level", "input": {}, "result": "no signal", "failed": true, "seconds": 0.1}'
    hosted.answers(
        lambda post: post.events(
            b"event: thinking\ndata: Hm.\n\nevent: tool_start\ndata: %b\n\nevent: tool_end\ndata: %b\n\n"
            % (tool, tool),
            b"data: `code` " + b"long" * 100 + b"\ndata:\ndata: > said\n\n",
        )
    )
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    turn = ended(asked(page, hosted.url))
    turn.locator("summary").click()
    for width in (320, 390, 768, 1280, 2560):
        resize(page, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(LOW_CONTRAST) == []


def test_nothing_moves_with_reduced_motion(page: Page, hosted: Site) -> None:
    def endless(post: Post) -> None:
        post.begin()
        post.send(b'event: tool_start\ndata: {"id": "1", "name": "x", "input": {}}\n\ndata: One\n\n')
        post.until_gone()

    hosted.answers(endless)
    page.emulate_media(reduced_motion="reduce")
    expect(asked(page, hosted.url).locator(".text")).to_have_text("One")
    page.wait_for_function("matchMedia('(prefers-reduced-motion: reduce)').matches")
    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(reduced_motion="no-preference")
    page.wait_for_function("document.getAnimations().length > 0")  # without reduced motion there is an animation
    page.keyboard.press("Escape")


def test_every_control_has_a_name(page: Page, hosted: Site) -> None:
    page.goto(hosted.url)
    nameless = page.evaluate(
        """
        [...document.querySelectorAll("button, input, textarea, summary, a, [tabindex]")]
          .filter((one) => !one.labels?.length && !one.textContent.trim() && !one.ariaLabel).map((one) => one.outerHTML)
        """
    )
    assert nameless == []
