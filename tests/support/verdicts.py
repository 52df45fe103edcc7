"""Streams whose verdicts differ, and a text that tries to speak the syntax of whatever tells it."""

from xml.etree.ElementTree import Element

from markdown_it import MarkdownIt

from streamgauge.harness.judge.outputs import markdown
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.record.observation import Outcome
from tests.support.record import observation, ttfts

HOSTILE = ']]><script>alert(1)</script>\n::error::owned\r\n|`@everyone`|**b**\x00\x07\u202e\ufffe \\" # EOF\n# 100%,:'
GOOD = ttfts(range(100, 400), output_tokens=3)
REFUSED = [observation([], outcome=Outcome.REFUSED, ended=2)] * 30
SATURATED = [observation(reads=100, saturated_reads=21)] * 100


def case(suite: Element) -> Element:
    found = suite.find("testcase")
    assert found is not None
    return found


def properties(suite: Element) -> dict[str, str]:
    return {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}


def cells(judgement: Judgement, most_bytes: int = markdown.MOST_BYTES) -> list[list[str]]:
    """The rows of all tables as text."""
    reader = MarkdownIt("gfm-like", {"linkify": False})
    found: list[list[str]] = []
    for token in reader.parse(markdown.render(judgement, most_bytes)):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline" and found and token.level == 4:
            found[-1].append("".join(child.content for child in token.children or []))
    return found
