"""What each kind of receiver is sent."""

import email.policy
import json
from email import message_from_bytes
from typing import Any

import pytest

from streamgauge.harness.config.alerts import Alertmanager, Email
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.receivers import filled
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.alerts.receivers import alertmanager, document, pagerduty, slack, webhook
from streamgauge.harness.monitor.alerts.receivers import email as mail
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt
from tests.support.alerts import firing, resolved

NOW = 1_700_000_300.0
HOSTILE = "<!channel> & \u202e\n\x1b[31m" + "x" * 5_000
MAIL = Email(to=["a@example.org", "b@example.org"], sender="gauge@example.org", host="localhost")


def text(block: object) -> str:
    return str(json.dumps(block))


def test_a_document_has_what_a_program_needs() -> None:
    content = json.loads(document.body(Attempt(firing("k1"), NOW)))
    assert {"status", "slo", "severity", "target", "since", "budget_left", "evidence"} <= content.keys()
    assert (content["status"], content["since"], content["until"]) == ("firing", "2023-11-14T22:13:20Z", None)
    assert content["evidence"]["worst"][0]["stream"] == 12
    assert json.loads(document.body(Attempt(resolved("k1"), NOW)))["until"] == "2023-11-14T22:23:20Z"


def test_the_id_tells_beginning_from_end_and_stays_for_each_attempt() -> None:
    first, again = Attempt(firing("k1"), NOW), Attempt(firing("k1"), NOW + 60, may_be_repeated=True)
    assert first.id == again.id != Attempt(resolved("k1"), NOW).id


def test_a_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks libraries."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signed = webhook.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_slack_gets_a_message_that_it_takes() -> None:
    said: Any = slack.message(Attempt(firing("k1", slo=HOSTILE, target=HOSTILE, summary=HOSTILE), NOW))
    header, section = said["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3_000
    assert len(text(said)) < 13_000
    assert "<!channel>" not in section["text"]["text"]
    assert "\u202e" not in text(said)
    assert "\\u001b" not in text(said)


def test_every_message_for_people_tells_what_broke_since_when_the_budget_and_where_to_look() -> None:
    alert = firing("k1")
    said = {
        "slack": text(slack.message(Attempt(alert, NOW))),
        "pagerduty": text(pagerduty.event("r" * 32, Attempt(alert, NOW))),
        "alertmanager": text(alertmanager.alert_of(Alertmanager(url="http://x"), alert, NOW)),
        "email": mail.message(MAIL, Attempt(alert, NOW)).get_content(),
    }
    for kind, content in said.items():
        for part in ("first token", "staging-eu", "2023-11-14T22:13:20Z", "42.0 %", "stream 12", "incidents/3"):
            where = mail.message(MAIL, Attempt(alert, NOW))["Subject"] if kind == "email" else ""
            assert part in content + where, f"{kind} does not tell {part}"


def test_people_are_told_if_a_message_may_be_a_repetition() -> None:
    again = Attempt(firing("k1"), NOW, may_be_repeated=True)
    assert "may have been sent before" in text(slack.message(again))
    assert "may have been sent before" in mail.message(MAIL, again).get_content()
    assert "may have been sent before" not in text(slack.message(Attempt(firing("k1"), NOW)))


def test_pagerduty_gets_an_event_within_its_limits() -> None:
    event: Any = pagerduty.event("r" * 32, Attempt(firing("k" * 200, summary=HOSTILE), NOW))
    assert event["event_action"] == "trigger"
    assert len(event["dedup_key"]) <= 255
    assert len(event["payload"]["summary"]) <= 1_024
    assert event["payload"]["severity"] in {"critical", "error", "warning", "info"}
    assert event["payload"]["source"] == "staging-eu"
    ended: Any = pagerduty.event("r" * 32, Attempt(resolved("k" * 200), NOW))
    assert (ended["event_action"], ended["dedup_key"]) == ("resolve", event["dedup_key"])


def test_no_label_of_an_alertmanager_changes_while_an_alert_fires() -> None:
    table = Alertmanager(url="http://x", labels={"team": "chat"})
    first: Any = alertmanager.alert_of(table, firing("k1"), NOW)
    later: Any = alertmanager.alert_of(table, firing("k1", budget_left=0.1, evidence={"bad": 9}), NOW + 60)
    assert first["labels"] == later["labels"] == {
        "alertname": "StreamgaugeSLO", "slo": "first token", "severity": "page", "target": "staging-eu", "team": "chat",
    }  # fmt: skip
    assert (first["startsAt"], first["endsAt"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:22:20Z")
    assert later["endsAt"] == "2023-11-14T22:23:20Z"
    ended: Any = alertmanager.alert_of(table, resolved("k1"), NOW + 900)
    assert ended["endsAt"] == "2023-11-14T22:23:20Z"


def test_both_mails_of_an_incident_are_in_one_thread_and_ask_for_no_reply() -> None:
    mails = [
        message_from_bytes(bytes(mail.message(MAIL, Attempt(alert, NOW))), policy=email.policy.default)
        for alert in (firing("k1", slo="two\nlines"), resolved("k1"))
    ]
    assert {each["Auto-Submitted"] for each in mails} == {"auto-generated"}
    assert mails[0]["References"] == mails[1]["References"]
    assert mails[0]["Message-ID"] != mails[1]["Message-ID"]
    assert "two lines" in mails[0]["Subject"]
    long = bytes(mail.message(MAIL, Attempt(firing("k" * 190), NOW))).decode()
    assert f"References: <{'k' * 190}@example.org>\n" in long, "not in an encoding: it would be in no thread"
    assert mail.message(MAIL, Attempt(firing("a<b>@c"), NOW))["Message-ID"] == "<a-b--c.firing@example.org>"


def alert_config(*lines: str) -> bytes:
    return "\n".join(["[[alert]]", *lines]).encode()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['kind = "pager"'], "no kind called 'pager'; there are webhook, slack, pagerduty"),
        (['kind = "slack"', 'url = "https://hooks.slack.com/services/T/B/x"'], "is a secret: write ${NAME}"),
        (['kind = "slack"', 'url = "${URL}"', 'secret = "${S}"'], "no key called 'secret'; there are name, severity"),
        (['kind = "webhook"', 'url = "https://x/?token=1"'], "may hold a secret behind its ?"),
        (['kind = "webhook"', 'url = "https://x/"', 'headers = { "X-Api-Key" = "1" }'], "headers.X-Api-Key: is a sec"),
        (['kind = "webhook"', 'url = "https://x/"', 'headers = { "a b" = "1" }'], "'a b' is not a header's name"),
        (['kind = "webhook"', 'url = "https://x/"', 'timeout = "2h"'], 'write a time from "1s" to "1m"'),
        (['kind = "webhook"', 'url = "https://x/"', 'name = "a\\nb"'], "is not a name"),
        (['kind = "alertmanager"', 'url = "http://x"', 'labels = { slo = "x" }'], "every alert has this label"),
        (['kind = "alertmanager"', 'url = "http://x"', 'every = "1h"'], 'write a time from "1s" to "3m"'),
        (['kind = "email"', 'from = "a@b.c"', "to = []", 'host = "x"'], "to: empty"),
        (['kind = "email"', 'from = "a"', 'to = ["a@b.c"]', 'host = "x"'], "'a' is not an address"),
        (['kind = "email"', 'from = "a@b.c"', 'to = ["a@b.c"]', 'host = "x"', 'user = "u"'], "user and password go"),
        (
            ['kind = "email"', 'from = "a@b.c"', 'to = ["a@b.c"]', 'host = "x"', 'tls = "none"', 'user = "u"',
             'password = "${P}"'],
            "could read the password",
        ),
        (['kind = "command"', "command = []"], "write a program and its arguments"),
        (['kind = "webhook"', 'url = "http://x"', "[[alert]]", 'kind = "webhook"', 'url = "http://y"'], "a second rec"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_alert_table_is_one_line(lines: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(alert_config(*lines))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "the environment has no variable 'SLACK'"),
        ({"SLACK": ""}, "alert[0].url: is empty"),
        ({"SLACK": "geheim-nichts-url"}, "alert[0].url: '${SLACK}' is not a URL"),
        ({"SLACK": "https://geheim.example/\r\nx: y"}, "cannot hold a line break"),
    ],
)
def test_a_receiver_without_its_secret_is_one_line_that_never_quotes_it(environ: dict[str, str], said: str) -> None:
    config = parse(alert_config('kind = "slack"', 'url = "${SLACK}"'))
    with pytest.raises(ConfigError) as raised:
        filled(config.alert, environ)
    assert said in str(raised.value)
    assert "geheim" not in str(raised.value)


def test_an_alert_goes_to_the_receivers_of_its_severity() -> None:
    config = parse(alert_config('kind = "slack"', 'url = "${SLACK}"', 'severity = "page"'))
    (receiver,) = filled(config.alert, {"SLACK": "https://hooks.example/services/T0/B0/xyz"}).receivers
    assert receiver.takes("page")
    assert not receiver.takes("ticket")


def test_an_alert_has_one_line_for_each_fact() -> None:
    alert: Alert = firing("k1", evidence={"text": "two\nlines"})
    assert "two lines" in mail.message(MAIL, Attempt(alert, NOW)).get_content()
