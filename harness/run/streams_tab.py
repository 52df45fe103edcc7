"""A tab `Streams` in Locust's web UI, by Locust's own extension points: what the latest streams got.

Locust's page asks `/stats/requests` for all figures every two seconds, and shows the rows that we add to the answer as
text. So nothing that a server said can act on the page.
"""

from collections.abc import Iterator
from typing import Any

import flask
from locust.web import WebUI

from streamgauge.harness.counting import some
from streamgauge.harness.judge.figures import NONE, figure
from streamgauge.harness.judge.wording import shortened, visible, words
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.run.view import View

_KEY = "streams"
_COLUMNS = {
    "what": "Streams",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
    "n": "Samples",
    "now": "Now",
    "state": "State",
}
_LONGEST = 300  # characters of a cell


class StreamsTab:
    def __init__(self, ui: WebUI) -> None:
        """Adds the tab. Call it before the UI starts to listen."""
        self._rows: list[dict[str, str]] = []
        ours: dict[str, Any] = {"extended_tabs": {"title": "Streams", "key": _KEY}}
        ours["extended_tables"] = {
            "key": _KEY,
            "structure": [{"key": key, "title": title} for key, title in _COLUMNS.items()],
        }
        for name, entry in ours.items():
            ui.template_args[name] = [*ui.template_args.get(name, ()), entry]
        ui.app.after_request(self._with_rows)

    def show(self, view: View) -> None:
        # Locust sorts the rows by a `name`, which is not shown.
        self._rows = [
            {"name": f"{place:04d}", **{key: shortened(visible(row.get(key, "")), _LONGEST) for key in _COLUMNS}}
            for place, row in enumerate(_rows(view))
        ]

    def _with_rows(self, response: flask.Response) -> flask.Response:
        if flask.request.endpoint != "locust.request_stats" or not response.is_json:
            return response
        answer = response.get_json()
        others = [each for each in answer.get("extended_stats", ()) if each["key"] != _KEY]  # Locust keeps the answer
        answer["extended_stats"] = [*others, {"key": _KEY, "data": self._rows}]
        response.set_data(flask.json.dumps(answer))
        return response


def _rows(view: View) -> Iterator[dict[str, str]]:
    latest, seconds = f"last {view.figures.seconds:.0f} s", view.figures.seconds or 1.0
    if view.warm_up:
        yield {"what": "Warm-up: in no figure of the result", "now": f"{view.warm_up:,.0f} s left"}
    for row in view.figures.rows:
        quantiles = zip(("p50", "p95", "p99"), (figure(value, row.unit) for value in row.quantiles), strict=True)
        yield {"what": f"{row.name.upper()}, {latest}", "n": f"{row.n:,}", **dict(quantiles)}
    for now in view.figures.rules:
        where = now.rule.written.where
        selected = f", {words(where)}" if where.selected() else ""
        state = {None: NONE, True: "within the limit", False: "beyond the limit"}[now.holds]
        value = figure(now.value, now.rule.subject.unit)
        yield {"what": f"Rule {now.rule.text}{selected}, {latest}", "now": value, "state": state}
    yield {"what": f"Ended, {latest}", "now": f"{view.figures.ended / seconds:,.1f} streams/s"}
    yield {"what": f"Content, {latest}", "now": f"{view.figures.chunks / seconds:,.0f} chunks/s"}
    yield {"what": "Under way", "now": f"{some(view.active, 'stream')} of {some(view.users, 'user')}"}
    for outcome in Outcome:
        if view.outcomes[outcome]:
            yield {"what": f"Outcome {outcome}", "n": f"{view.outcomes[outcome]:,}"}
    for failure in view.failures:
        yield {"what": f"Failure {failure.why}", "n": f"{failure.n:,}"}
    for sign in view.health:
        yield {"what": "Generator", "now": sign.text, "state": "fine" if sign.fine else "too much"}
