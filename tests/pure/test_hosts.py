"""Where a run's requests go, and whether the config's secrets may go there, however the host was changed."""

from types import SimpleNamespace
from typing import Any

import pytest

from streamgauge.harness.config.schema import Credentials, Metrics, Request, Target
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.errors import TargetError
from streamgauge.harness.run.hosts import Hosts

HOME = "http://127.0.0.1:8080"
WITH_A_KEY = Target(headers={"authorization": "Bearer ${KEY}"})
ELSEWHERE = [
    "http://127.0.0.2:8080",  # another name
    "http://127.0.0.1:8081",  # another port
    "http://127.0.0.1",
    "https://127.0.0.1:8080",  # another scheme
    "http://127.0.0.1:8080.evil.example",
    "http://127.0.0.1:8080@evil.example",
    "//127.0.0.1:8080",
]


def environment(host: str | None = None, *of_classes: str) -> Any:
    """What Locust's environment has of a host. Importing Locust would monkey-patch the tests' process."""
    classes = [SimpleNamespace(host=each) for each in of_classes or (None,)]
    return SimpleNamespace(host=host, user_classes=classes)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_secrets_do_not_go_to_another_host_than_at_the_start(host: str) -> None:
    started = environment(HOME)
    hosts = Hosts(started, WITH_A_KEY)
    started.host = host  # as Locust's web UI does
    with pytest.raises(TargetError, match="host"):
        hosts.of_next_run()


def test_the_refusal_names_the_host_of_the_start_and_says_what_to_do() -> None:
    hosts = Hosts(environment(HOME), WITH_A_KEY)
    with pytest.raises(TargetError, match=rf"started on {HOME}; start it anew with -H https://evil\.example$"):
        hosts.check("https://evil.example/path")


@pytest.mark.parametrize("host", [HOME, f"{HOME}/", f"{HOME}/base", "HTTP://127.0.0.1:8080"])
def test_another_path_on_the_same_host_is_the_same_host(host: str) -> None:
    started = environment(HOME)
    hosts = Hosts(started, WITH_A_KEY)
    started.host = host
    assert hosts.of_next_run() == host


def test_the_port_of_the_scheme_need_not_be_written() -> None:
    Hosts(environment("https://127.0.0.1"), WITH_A_KEY).check("https://127.0.0.1:443")


def test_a_class_whose_host_was_changed_gets_no_secrets_for_it() -> None:
    started = environment(None, HOME)
    hosts = Hosts(started, WITH_A_KEY)
    assert hosts.of_next_run() == HOME
    started.user_classes[0].host = ELSEWHERE[0]  # as /user of Locust's web UI does
    with pytest.raises(TargetError, match="is refused"):
        hosts.of_next_run()


def test_the_hosts_of_all_classes_may_be_chosen_but_not_those_that_an_option_replaced() -> None:
    Hosts(environment(None, HOME, ELSEWHERE[0]), WITH_A_KEY).check(ELSEWHERE[0])
    with pytest.raises(TargetError, match="is refused"):
        Hosts(environment(HOME, ELSEWHERE[0]), WITH_A_KEY).check(ELSEWHERE[0])


def test_without_a_host_at_the_start_there_is_none_for_secrets() -> None:
    with pytest.raises(TargetError, match="it was started without a host; start it anew with -H http"):
        Hosts(environment(), WITH_A_KEY).check(HOME)


@pytest.mark.parametrize(
    "target",
    [
        Target(headers={"x-api-key": "literal"}),
        Target(credentials=Credentials(variable="USERS")),
        Target(body={"metadata": {"session": ["${KEY}"]}}),
        Target(request=Request(query={"key": "${KEY}"})),
        Target(request=Request(body={"token": "${KEY}"})),
        Target(path="/v1/messages?key=${KEY}"),
        Target(metrics=Metrics(url="/metrics?key=${KEY}")),
        Target(metrics=Metrics(url="/metrics", headers={"cookie": "${KEY}"})),
    ],
)
def test_every_place_of_a_secret_counts(target: Target) -> None:
    with pytest.raises(TargetError, match="is refused"):
        Hosts(environment(HOME), target).check(ELSEWHERE[0])


def test_without_secrets_the_web_ui_chooses_any_host() -> None:
    started = environment()
    hosts = Hosts(started, Target())
    started.host = HOME
    assert hosts.of_next_run() == HOME


def test_a_wrong_url_is_found_at_the_start() -> None:
    with pytest.raises(TargetError, match="not a URL of a server"):
        Hosts(environment("staging.example"), Target())


@pytest.mark.parametrize(
    "url",
    [
        "http://h?key=s3cret-key",
        "https://h/x#s3cret-key",
        "ftp://you:s3cret-key@h",
        "you:s3cret-key@h",
        "http://you:s3cret-key@h",
        "http://you:s3cret-key@h:99999",
        "http://[h?key=s3cret-key",
    ],
)
def test_a_url_that_is_refused_is_told_without_what_may_be_secret_in_it(url: str) -> None:
    with pytest.raises(TargetError) as told:
        Endpoint.of(url)
    assert "s3cret" not in str(told.value)
