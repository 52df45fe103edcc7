"""The streaming client as a module, in a real browser, against servers that cut, drop, repeat and refuse."""

import base64
import json
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.scripted_site import DONE, PATIENCE, Post, Script, Site

_READ = """
async (options) => {
  const { Answer, streamChat } = await import("/static/streaming.js");
  const answer = new Answer();
  const events = [];
  let error = null;
  try {
    const signal = AbortSignal.timeout(120_000); // a test that hangs fails instead
    for await (const event of streamChat({ url: "/chat/stream", body: { messages: [] }, signal, ...options })) {
      answer.take(event);
      events.push(event);
      if (event.type === "text") fetch(`/told?${encodeURIComponent(event.text)}`);
    }
  } catch ({ name, message, kind, status, retryAfter, requestId }) {
    error = { name, message, kind, status, retryAfter, requestId };
  }
  const { text, parts, usage, tokens, streaming } = answer;
  return { events, error, text, parts, usage, tokens, streaming, ttft: answer.ttft };
}
"""


def read(page: Page, site: Site, **options: Any) -> dict[str, Any]:
    """What one `streamChat` yields and throws, and the fields of an `Answer` that took its events."""
    page.goto(f"{site.url}/blank")
    seen: dict[str, Any] = page.evaluate(_READ, options)
    return seen


def kinds(seen: dict[str, Any]) -> list[str]:
    return [event["type"] for event in seen["events"]]


def numbered(first: int, last: int, stream: str = "req_1") -> bytes:
    """Token events from first to last, with ids."""
    return b"".join(f"id: {stream}:{n}\ndata: {n} \n\n".encode() for n in range(first, last + 1))


def cut(body: bytes, after: str) -> Script:
    """The script that sends this, and cuts the connection when the page has read the text `after`."""

    def script(post: Post) -> None:
        post.begin()
        post.send(body)
        post.cut_after(after)

    return script


PIECES = [
    *(b"data: hello\n\n", b"data:x\r\n\r\n", b"data\r\r", b"data: \xf0\x9f\x8c\x8a na\xc3\xafve\n", b"data:  two\n"),
    *(b"event: a\n", b"event:b\r\n", b"event\n", b"id: 7\n", b"id: s:1\r", b"id\n", b"id: nu\0ll\n", b"retry: 100\n"),
    *(b"retry: soon\n", b": comment\n", b":\r\n", b"other: x\n", b"data : x\n", b"\n", b"\r", b"\r\n", b"\n\n"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x82", b"data: cut", b": ", b" "),
]


def test_the_decoder_reads_what_the_browsers_own_event_source_reads(page: Page, hosted: Site) -> None:
    random = Random(4)
    bodies = [b"".join(random.choices(PIECES, k=random.randint(1, 14))) for _ in range(80)]
    bodies += [b"\xef\xbb\xbfdata: after a BOM\n\n", b"data: a\r\n\r\ndata: b\r\rdata: c\n\n"]
    for number, body in enumerate(bodies):
        hosted.files[f"/case/{number}"] = ("text/event-stream", body)
    page.goto(f"{hosted.url}/blank")
    differing = page.evaluate(
        """
        async (bodies) => {
          const { EventDecoder } = await import("/static/streaming.js");
          const theirs = (number) => new Promise((resolve) => {
            const source = new EventSource(`/case/${number}`);
            const told = [];
            for (const type of ["message", "a", "b"]) {
              source.addEventListener(type, ({ type, data, lastEventId }) => told.push([type, data, lastEventId]));
            }
            source.onerror = () => { source.close(); resolve(told); };
          });
          const ours = (bytes, size) => {
            const decoder = new EventDecoder();
            const told = [];
            let id = "";
            for (let at = 0; at < bytes.length; at += size) {
              for (const event of decoder.decode(bytes.subarray(at, at + size))) {
                id = size === 1 ? decoder.lastEventId : id;  // one byte completes one event at most
                told.push([event.type, event.data, id]);
              }
            }
            return told;
          };
          const withoutIds = (told) => told.map(([type, data]) => [type, data]);
          const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
          const differing = [];
          await Promise.all(bodies.map(async (text, number) => {
            const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
            const expected = await theirs(number);
            const cuts = [2, 3, 5, 1000].every((size) => same(withoutIds(ours(bytes, size)), withoutIds(expected)));
            if (!cuts || !same(ours(bytes, 1), expected)) differing.push([atob(text), expected, ours(bytes, 1)]);
          }));
          return differing;
        }
        """,
        [base64.b64encode(body).decode() for body in bodies],
    )
    assert differing == []


def test_characters_and_lines_that_are_cut_anywhere_are_decoded_whole(page: Page, hosted: Site) -> None:
    body = "\ufeffid: req_1:1\r\ndata: Höfn 🌊\r\n\r\ndata: two\rdata: lines\r\r: ping\n\ndata:  m³\n\n".encode() + DONE
    hosted.answers(lambda post: post.events(*(body[at : at + 1] for at in range(len(body)))))
    seen = read(page, hosted)
    assert seen["error"] is None
    assert [event["text"] for event in seen["events"] if event["type"] == "text"] == ["Höfn 🌊", "two\nlines", " m³"]


def test_an_answer_has_its_text_its_thinking_its_tools_and_its_usage_in_order(page: Page, hosted: Site) -> None:
    call = {"id": "t1", "name": "gauge_level", "input": {"station": "Höfn"}}
    end = {"id": "t1", "name": "gauge_level", "result": "4.2 m", "failed": False, "seconds": 0.25}
    hosted.answers(
        lambda post: post.events(
            b"event: thinking\ndata: Hm\n\n",
            b"data: Look\n\n",
            b"event: tool_start\ndata: %b\n\n" % json.dumps(call).encode(),
            b"event: tool_end\ndata: %b\n\n" % json.dumps(end).encode(),
            b"event: from_the_future\ndata: {}\n\n",
            b"data: {not json, so text}\n\n",
            b'data: {"done": true, "input_tokens": 9, "output_tokens": 4, "stop_reason": "end_turn"}\n\n',
            DONE,
        )
    )
    seen = read(page, hosted)
    assert kinds(seen) == ["open", "thinking", "text", "tool_start", "tool_end", "text", "usage"]
    assert seen["parts"] == [
        {"kind": "thinking", "text": "Hm"},
        {"kind": "text", "text": "Look"},
        {"kind": "tool", **call, "result": "4.2 m", "failed": False, "seconds": 0.25},
        {"kind": "text", "text": "{not json, so text}"},
    ]
    assert seen["text"] == "Look{not json, so text}"
    assert seen["usage"] == {"input_tokens": 9, "output_tokens": 4, "stop_reason": "end_turn"}
    assert seen["tokens"] == 4
    assert seen["ttft"] > 0


def test_a_dropped_answer_continues_where_it_was(page: Page, hosted: Site) -> None:
    hosted.answers(
        cut(b"retry: 5\n" + numbered(1, 3) + b"id: req_1:4\ndata: half an event", "3 "),
        cut(numbered(2, 5), "5 "),  # two events are repeated: each counts once
        lambda post: post.events(numbered(6, 7) + DONE),
    )
    seen = read(page, hosted, body={"messages": [{"role": "user", "content": "Go on?"}], "max_tokens": 7})
    assert seen["error"] is None
    assert seen["text"] == "1 2 3 4 5 6 7 "
    assert [post.headers.get("last-event-id") for post in hosted.posts] == [None, "req_1:3", "req_1:5"]
    assert hosted.posts[0].body == hosted.posts[1].body == hosted.posts[2].body
    waits = [event for event in seen["events"] if event["type"] == "reconnecting"]
    assert [(event["attempt"], event["reason"]) for event in waits] == [(1, "The connection was lost.")] * 2
    assert all(5 <= event["wait"] <= 7.5 for event in waits)  # the server's `retry`, plus up to half of it
    assert [event["resumed"] for event in seen["events"] if event["type"] == "open"] == [False, True, True]


def test_an_end_without_the_terminal_event_is_a_drop(page: Page, hosted: Site) -> None:
    hosted.answers(
        lambda post: post.events(b"retry: 1\n" + numbered(1, 1)), lambda post: post.events(numbered(2, 2), DONE)
    )
    assert read(page, hosted)["text"] == "1 2 "


def test_any_event_id_is_sent_back_unchanged(page: Page, hosted: Site) -> None:
    hosted.answers(
        lambda post: post.events("retry: 1\nid: Höfn 🌊\ndata: 1 \n\n".encode()),
        lambda post: post.events(b"data: 2 \n\n", DONE),
    )
    assert read(page, hosted)["text"] == "1 2 "
    assert hosted.posts[1].headers["last-event-id"].encode("latin-1").decode() == "Höfn 🌊"


def test_the_id_of_an_event_without_data_counts_too(page: Page, hosted: Site) -> None:
    begun = cut(b"retry: 1\ndata: 0 \n\nid: req_1:0\n\n", "0 ")
    hosted.answers(begun, lambda post: post.events(numbered(1, 1), DONE))
    assert read(page, hosted)["text"] == "0 1 "
    assert hosted.posts[1].headers["last-event-id"] == "req_1:0"


def test_a_dropped_answer_without_event_ids_is_an_error_and_not_asked_for_again(page: Page, hosted: Site) -> None:
    hosted.answers(cut(b"data: half\n\n", "half"))
    seen = read(page, hosted)
    assert seen["error"]["kind"] == "dropped"
    assert seen["text"] == "half"
    assert len(hosted.posts) == 1


def test_reconnecting_ends_after_five_attempts_without_progress(page: Page, hosted: Site) -> None:
    hosted.answers(cut(b"retry: 1\n" + numbered(1, 1), "1 "), lambda post: post.events(numbered(1, 1)))
    seen = read(page, hosted, retries=3)
    assert len(hosted.posts) == 4
    assert [event["attempt"] for event in seen["events"] if event["type"] == "reconnecting"] == [1, 2, 3]
    assert seen["error"]["message"] == "The answer broke off before its end. 3 attempts to reconnect did not help."
    assert seen["text"] == "1 "


def test_a_busy_server_is_asked_for_the_rest_again_but_not_one_that_lost_it(page: Page, hosted: Site) -> None:
    busy = {"error": {"message": "all streams are in use"}}
    hosted.answers(
        cut(b"retry: 1\n" + numbered(1, 1), "1 "),
        lambda post: post.document("503 Service Unavailable", busy, retry_after="0"),
        lambda post: post.document("404 Not Found", {"error": {"message": "no such stream"}}),
    )
    seen = read(page, hosted)
    assert len(hosted.posts) == 3
    assert (seen["error"]["kind"], seen["error"]["status"]) == ("refused", 404)


def test_a_silent_connection_counts_as_dropped(stopped: Page, hosted: Site) -> None:
    def silent(post: Post) -> None:
        post.begin()
        post.send(b"retry: 1\n" + numbered(1, 1))
        post.until_gone()

    hosted.answers(silent, lambda post: post.events(numbered(2, 2), DONE))
    stopped.goto(f"{hosted.url}/blank")
    stopped.evaluate(f"(options) => {{ window.seen = ({_READ})(options); }}", {"silence": 1000})
    assert hosted.told.get(timeout=PATIENCE) == "1 "
    stopped.clock.run_for(999)
    assert len(hosted.posts) == 1
    stopped.clock.run_for(1)
    stopped.clock.run_for(2)  # the wait before a new connection: the server's `retry`, plus up to half of it
    assert stopped.evaluate("window.seen")["text"] == "1 2 "
    assert hosted.posts[1].headers["last-event-id"] == "req_1:1"


@pytest.mark.parametrize(
    ("status", "headers", "message", "retry_after"),
    [
        ("429 Too Many Requests", {"retry_after": "7"}, "The server refused (429): slow down.", 7),
        ("503 Service Unavailable", {"retry_after": "Mon, 01 Jan 2001 00:00:00 GMT"}, "(503): slow down.", 0),
        ("400 Bad Request", {}, "The server refused (400): slow down.", None),
    ],
)
def test_a_refusal_has_its_reason_and_the_time_to_wait(
    page: Page, hosted: Site, status: str, headers: dict[str, str], message: str, retry_after: int | None
) -> None:
    hosted.answers(lambda post: post.document(status, {"error": {"message": "slow down."}}, **headers))
    error = read(page, hosted)["error"]
    assert error["message"].endswith(message)
    assert (error["kind"], error["retryAfter"], error["requestId"]) == ("refused", retry_after, "req_1")
    assert len(hosted.posts) == 1


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"error": {"message": "overloaded"}}\n\n',
        b'data: {"error": {"message": "overloaded"}}\n\n',
    ],
)
def test_an_error_inside_the_stream_ends_it_and_keeps_the_text_so_far(page: Page, hosted: Site, event: bytes) -> None:
    hosted.answers(lambda post: post.events(numbered(1, 2), event, DONE))
    seen = read(page, hosted)
    assert (seen["error"]["kind"], seen["error"]["message"]) == ("server", "The server failed: overloaded.")
    assert seen["text"] == "1 2 "
    assert len(hosted.posts) == 1


def test_a_closed_port_is_unreachable(page: Page, hosted: Site) -> None:
    hosted.answers(lambda _: None)  # the connection closes without an answer
    assert read(page, hosted)["error"]["kind"] == "unreachable"


def whole(post: Post) -> None:
    assert post.body["stream"] is False
    post.document("200 OK", {"text": "All at once.", "output_tokens": 3})


def test_a_browser_that_cannot_stream_asks_for_the_whole_answer(page: Page, hosted: Site) -> None:
    hosted.answers(whole)
    page.goto(f"{hosted.url}/blank")
    page.evaluate("delete window.ReadableStream")
    seen = page.evaluate(_READ, {})
    assert kinds(seen) == ["open", "text", "usage"]
    assert (seen["text"], seen["streaming"], seen["tokens"]) == ("All at once.", False, 3)


def test_behind_a_proxy_without_events_the_whole_answer_is_asked_for(page: Page, hosted: Site) -> None:
    def page_of_a_proxy(post: Post) -> None:
        assert post.body["stream"] is True
        post.begin(content_type="text/html")
        post.send(b"<h1>please wait</h1>")
        post.until_gone()

    hosted.answers(page_of_a_proxy, whole)
    assert read(page, hosted)["text"] == "All at once."


def test_a_server_that_answers_with_a_document_unasked_is_not_asked_twice(page: Page, hosted: Site) -> None:
    hosted.answers(lambda post: post.document("200 OK", {"text": "No streams here."}))
    assert read(page, hosted)["text"] == "No streams here."
    assert len(hosted.posts) == 1


def test_leaving_the_loop_or_aborting_closes_the_connection(page: Page, hosted: Site) -> None:
    def endless(post: Post) -> None:
        post.begin()
        post.send(b"data: first\n\n")
        post.until_gone()

    hosted.answers(endless)
    page.goto(f"{hosted.url}/blank")
    thrown = page.evaluate(
        """
        async () => {
          const { streamChat } = await import("/static/streaming.js");
          const ask = { url: "/chat/stream", body: {} };
          for await (const event of streamChat(ask)) if (event.type === "text") break;
          const stop = new AbortController();
          try {
            for await (const { type } of streamChat({ ...ask, signal: stop.signal })) if (type === "text") stop.abort();
          } catch (fault) {
            return fault.name;
          }
        }
        """
    )
    assert thrown == "AbortError"
    assert hosted.gone.acquire(timeout=PATIENCE)
    assert hosted.gone.acquire(timeout=PATIENCE)


def test_stopping_while_it_waits_to_reconnect_ends_the_wait(page: Page, hosted: Site) -> None:
    hosted.answers(cut(b"retry: 20000\n" + numbered(1, 1), "1 "))
    page.goto(f"{hosted.url}/blank")
    thrown = page.evaluate(
        """
        async () => {
          const { streamChat } = await import("/static/streaming.js");
          const stop = new AbortController();
          try {
            for await (const event of streamChat({ url: "/chat/stream", body: {}, signal: stop.signal })) {
              if (event.type === "text") fetch("/told?1%20");
              if (event.type === "reconnecting") setTimeout(() => stop.abort(), 1);
            }
          } catch (fault) {
            return fault.name;
          }
        }
        """
    )
    assert thrown == "AbortError"
    assert len(hosted.posts) == 1


def test_stopping_cancels_the_answer_at_the_server_but_not_after_its_end(page: Page, hosted: Site) -> None:
    def left(post: Post) -> None:
        post.begin(x_request_id="req_2")
        post.send(b"data: half\n\n")
        post.until_gone()

    hosted.answers(lambda post: post.events(numbered(1, 1), DONE), left)
    page.goto(f"{hosted.url}/blank")
    page.evaluate(
        """
        async () => {
          const { streamChat } = await import("/static/streaming.js");
          const ask = { url: "/chat/stream", body: {}, cancelUrl: (id) => `/streams/${id}/cancel` };
          for await (const _ of streamChat(ask));
          for await (const event of streamChat(ask)) if (event.type === "text") break;
        }
        """
    )
    assert hosted.told.get(timeout=PATIENCE) == "/streams/req_2/cancel"


def test_an_event_without_end_is_refused_before_it_fills_the_memory(page: Page, hosted: Site) -> None:
    def flood(post: Post) -> None:
        post.begin()
        post.send(b"data: ")
        while True:
            post.send(b"x" * 65_536)

    hosted.answers(flood)
    assert read(page, hosted)["error"]["kind"] == "malformed"
