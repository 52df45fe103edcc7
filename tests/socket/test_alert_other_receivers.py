"""Alerts to receivers that speak no HTTP of ours: mail servers, programs, apprise's services."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from streamgauge.harness.config.alerts import Apprise, Command, Email, Slack, Webhook
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.monitor.alerts import at_once
from streamgauge.harness.monitor.alerts.receivers.bounded import within
from tests.support.alert_bench import SECRET, Bench
from tests.support.alert_servers import Answer, Mailbox, Receiver, smtp_receiver
from tests.support.alerts import firing, resolved
from tests.support.command import invoke

SOON = Duration.parse("1s")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_receiver() as started:
        yield started


def mail_to(mailbox: Mailbox, **other: Any) -> Email:
    known: dict[str, Any] = {"host": "127.0.0.1", "port": mailbox.port, "tls": "none"}
    return Email(to=["a@example.org", "b@example.org"], sender="gauge@example.org", **known | other)


def test_mail_is_sent(bench: Bench, mailbox: Mailbox) -> None:
    table = mail_to(mailbox)
    bench.put([table], firing("k1"), resolved("k1"))
    assert bench.deliver(table) == 2
    assert [mail["Subject"] for mail in mailbox.mails] == [
        "FIRING page: first token at staging-eu", "RESOLVED page: first token at staging-eu",
    ]  # fmt: skip
    assert mailbox.mails[0]["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    ("replies", "rcpt", "state", "fault"),
    [
        ({"DATA": "451 try later"}, {}, "waiting", "SMTP 451: try later"),
        ({"DATA": "554 no spam"}, {}, "given_up", "SMTP 554: no spam"),
        ({}, {"a@": "550 unknown", "b@": "550 unknown"}, "given_up", "the server refused every address, with 550"),
        ({}, {"a@": "450 busy", "b@": "550 unknown"}, "waiting", "the server refused every address, with 450, 550"),
        ({}, {"b@": "550 unknown"}, "delivered", "the server refused b@example.org"),
        ({"EHLO": "554 go away", "HELO": "554 go away"}, {}, "waiting", "SMTP 554: go away"),
    ],
)
def test_what_a_mail_server_refuses_for_good_is_not_sent_again(
    bench: Bench, mailbox: Mailbox, replies: dict[str, str], rcpt: dict[str, str], state: str, fault: str
) -> None:
    mailbox.replies, mailbox.rcpt = replies, rcpt
    table = mail_to(mailbox)
    bench.put([table], firing("k1"))
    bench.deliver(table)
    assert bench.states()[0][2:] == (state, fault)


def test_a_mail_server_that_drips_its_greeting_is_given_the_time_of_the_config_and_no_more(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        table = mail_to(Mailbox(), port=listening.getsockname()[1], timeout=Duration.parse("5s"))
        bench.put([table], firing("k1"))
        ended = threading.Event()
        threading.Thread(target=_drip, args=(listening, ended)).start()
        bench.deliver(table)
        assert bench.states()[0][2:] == ("waiting", "no answer within 5 s")
        bench.now += 31
        bench.deliver(table)
        ended.set()
    assert "the attempt before this one still goes on" in bench.states()[0][3], "threads do not pile up"


def _drip(listening: socket.socket, ended: threading.Event) -> None:
    connection, _ = listening.accept()
    with connection:
        while not ended.wait(0.1):  # more often than the client takes for silence, also on a busy machine
            connection.send(b"2")


def test_an_attempt_that_has_ended_does_not_keep_the_next_alert_waiting() -> None:
    def ends_slowly(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code.co_name == "run":
            time.sleep(0.05)

    threading.setprofile(ends_slowly)
    try:
        assert [within(60.0, "one", lambda: "sent") for _ in range(3)] == ["sent"] * 3
    finally:
        threading.setprofile(None)


def test_a_password_is_not_sent_to_a_server_without_tls(bench: Bench, mailbox: Mailbox) -> None:
    table = mail_to(mailbox, tls="starttls", user="u", password=SECRET)
    bench.put([table], firing("k1"))
    bench.deliver(table)
    assert "lacks what the config asks for" in bench.states()[0][3]


def command(tmp_path: Path, code: str, **other: Any) -> Command:
    return Command(command=[sys.executable, "-c", code, str(tmp_path / "out")], **other)


def test_a_command_reads_the_alert_and_gets_no_key_of_the_monitor(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", SECRET)
    code = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + repr(dict(os.environ)))"
    table = command(tmp_path, code, environment={"MINE": "yes"}, timeout=Duration.parse("1m"))
    bench.put([table], firing("k1"))
    bench.deliver(table)
    out = (tmp_path / "out").read_text()
    assert '"status":"firing"' in out
    assert "MINE" in out
    assert SECRET not in out


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import time; time.sleep(60)", "did not end within 1s, and was ended"),
    ],
)
def test_a_command_that_fails_or_does_not_end_is_tried_again(
    bench: Bench, tmp_path: Path, code: str, fault: str
) -> None:
    table = command(tmp_path, code, timeout=SOON if "sleep" in code else Duration.parse("1m"))
    bench.put([table], firing("k1"))
    bench.deliver(table)
    assert bench.states()[0][2:] == ("waiting", fault)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # apprise's own
def test_apprise_delivers_to_its_services(bench: Bench, receiver: Receiver) -> None:
    table = Apprise(url=receiver.url.replace("http://", "json://"))
    bench.put([table], firing("k1"))
    bench.deliver(table)
    assert bench.states()[0][2:] == ("delivered", None)
    assert receiver.got[0].document["title"] == "FIRING page: first token at staging-eu"
    receiver.usual = Answer(307, {"Location": f"{receiver.url}/elsewhere"})
    bench.put([table], resolved("k1"))
    bench.deliver(table)
    assert [got.path for got in receiver.got] == ["/", "/"]
    assert bench.states()[1][2] == "waiting"


def test_a_test_message_reaches_every_receiver_whatever_severity_it_takes(receiver: Receiver) -> None:
    tables = (
        Webhook(url=receiver.url, severity="page"),
        Slack(url=receiver.url),
        Webhook(url=receiver.url, name="b", severity="ticket"),
    )
    sent = list(at_once.send_test(Filled(tables, Redaction([]))))
    assert [(each.receiver, each.fault) for each in sent] == [("webhook", None), ("slack", None), ("b", None)]
    assert len(receiver.got) == 6, "each gets the beginning and the end"


def test_test_alert_exits_with_1_if_a_receiver_did_not_take_the_message(receiver: Receiver, tmp_path: Path) -> None:
    config = tmp_path / "m.toml"
    config.write_text(f'[[alert]]\nkind = "webhook"\nurl = "{receiver.url}"\n')
    done = invoke("monitor", "--config", config, "--test-alert")
    assert (done.exit_code, done.stdout) == (0, "webhook: took the test message\n")
    receiver.usual = Answer(410, body=b"gone")
    receiver.answers.clear()
    done = invoke("monitor", "--config", config, "--test-alert")
    assert done.exit_code == 1
    assert "webhook: did not take it: HTTP 410: gone" in done.stdout
    config.write_text("")
    done = invoke("monitor", "--config", config, "--test-alert")
    assert done.exit_code == 2
    assert "has no [[alert]]" in done.stderr


def test_write_rules_names_what_it_has_written(tmp_path: Path) -> None:
    config = tmp_path / "m.toml"
    config.write_text('[[monitor.target]]\nname = "eu"\nhost = "http://eu.example"\n')
    done = invoke("monitor", "--config", config, "--write-rules", tmp_path / "rules")
    assert done.exit_code == 0
    assert len(list((tmp_path / "rules").iterdir())) == len(done.stdout.splitlines()) == 4
    done = invoke("monitor", "--config", config, "--write-rules", tmp_path / "no" / "such")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(("http", "said"), [("9464", "HOST:PORT"), ("0.0.0.0:9464", "others could read the pages")])
def test_pages_that_cannot_be_served_as_asked_end_the_monitor_before_it_begins(
    http: str, said: str, tmp_path: Path
) -> None:
    config = tmp_path / "m.toml"
    config.write_text('[[monitor.target]]\nname = "eu"\nhost = "http://eu.example"\n')
    done = invoke("monitor", "--config", config, "--db", tmp_path / "m.db", "--http", http)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "m.db").exists()
