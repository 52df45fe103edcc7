"""The page of a run of given streams, read as a browser would."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import page
from streamgauge.reports.material import gather
from tests.support.record import database, observation


class Page(HTMLParser):
    """What a browser would see: tables, scripts, attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}  # by caption; the head's row first where there is one
        self.scripts: list[str] = []
        self.figures: list[Any] = []
        self.times: list[Any] = []  # of the replay: by stream, at most one
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style", "caption", "td", "th"}:
            self._inside.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in {"td", "th"}:
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()
        if tag == "script" and self.tags[-1][1].get("type") == "application/json":
            into = self.times if self.tags[-1][1].get("class") == "times" else self.figures
            into.append(json.loads(self.scripts.pop()))
        if tag in {"td", "th"}:
            self._rows[-1][-1] = self._rows[-1][-1].strip()
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        if inside == "script":
            self.scripts[-1] += data
        elif inside != "style":
            self.text += data
        if inside in {"td", "th"}:
            self._rows[-1][-1] += data
        if inside == "caption":
            self._caption += data

    def row(self, caption: str, first: str) -> list[str]:
        return next(row for row in self.tables[caption] if row[0] == first)


def rendered(path: Path, streams: list[StreamObservation], *rules: str | Sla, **fields: Any) -> tuple[str, Judgement]:
    slas = [Sla(rule=rule) if isinstance(rule, str) else rule for rule in rules]
    with Store.open(database(path, streams, rules=slas, **fields)) as store:
        material = gather(store)
    return page.render(material), material.judgement


def empty(outcome: Outcome, **fields: Any) -> StreamObservation:
    """A stream that ended without an answer."""
    return observation([], outcome=outcome, **{"ended": 5, **fields})


def mixed() -> list[StreamObservation]:
    """400 streams of two user classes on two networks, some of which fail."""
    streams = [
        observation(
            [("text", 200 + at % 97 + 20 * chunk) for chunk in range(6)],
            due=at * 20,
            user="Reader" if at % 3 else "Commuter",
            network="none" if at % 2 else "slow_4g",
            link=0 if at % 2 else 150,
            reads=6,
            send_lag=40_000,
            read_lag_max=90_000,
            output_tokens=6,
        )
        for at in range(390)
    ]
    said = "HTTP 529: overloaded"
    return streams + [empty(Outcome.REFUSED, due=at * 700, detail=said, http_status=529) for at in range(10)]
