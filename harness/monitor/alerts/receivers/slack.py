"""An incoming webhook of Slack. It cannot change a message: a resolved alert is a second one.

Slack refuses a message of about 13,000 characters (msg_blocks_too_long) and a section of more than 3,000.
"""

import msgspec

from streamgauge.harness.config.alerts import Slack
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.monitor.alerts import telling
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt
from streamgauge.harness.monitor.alerts.receivers.http import post_confirmed

_LONGEST_SECTION = 2_500
_ICONS = {"firing": ":red_circle:", "resolved": ":large_green_circle:"}


def send(table: Slack, attempt: Attempt) -> None:
    post_confirmed(table.url, msgspec.json.encode(message(attempt)), {}, seconds=table.timeout / 1e9)


def message(attempt: Attempt) -> dict[str, object]:
    alert = attempt.alert
    title = telling.title(alert)
    lines = [*telling.lines(alert), *([telling.REPEATED] if attempt.may_be_repeated else [])]
    summary = _escaped(shortened(visible(alert.summary), 300))
    section = shortened("\n".join(map(_escaped, lines)), _LONGEST_SECTION)
    return {
        "text": f"{_ICONS[alert.status]} {_escaped(title)}: {summary}",  # in notifications
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title}},
            {"type": "section", "text": {"type": "mrkdwn", "text": section}},
        ],
    }


def _escaped(text: str) -> str:
    """Without Slack's three control characters, which could mention a channel or hide a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
