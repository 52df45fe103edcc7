"""Misspelt attributes of a scenario's classes are told; attributes of the scenario's own are not."""

from typing import Any, ClassVar

import pytest

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.attributes import misspelt
from streamgauge.harness.errors import ScenarioError
from streamgauge.scenario import Spike, Steps, StreamUser, between, task


def user(**attributes: Any) -> type[StreamUser]:
    return type("Reader", (StreamUser,), {"ask": task(lambda self: self.stream()), **attributes})


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("behavior", "stop_button", "behaviour"),
        ("netwrok", "3g", "network"),
        ("Network", "3g", "network"),
        ("promts", "short", "prompts"),
        ("clinet", "httpx", "client"),
        ("label", {"a": "b"}, "labels"),
        ("weigth", 3, "weight"),
        ("wait_tiem", between(1, 2), "wait_time"),
        ("on_strat", lambda _: None, "on_start"),
        ("fresh_connection", True, "fresh_connections"),
    ],
)
def test_an_attribute_that_is_almost_one_of_ours_or_locusts_is_a_mistake(name: str, value: Any, meant: str) -> None:
    """Issue 17, 5: the run was met with the default person on the default link."""
    with pytest.raises(ScenarioError, match=rf"^Reader\.{name}: .* did you mean '{meant}'\?$"):
        user(**{name: value}).check(Target(), {})


def test_a_misspelt_attribute_of_a_mixin_or_a_base_class_is_found_too() -> None:
    class Slow:
        netwrok = "3g"

    class Reader(Slow, StreamUser):
        pass

    class Patient(user(behavior="patient")):  # type: ignore[misc]
        pass

    for kind, said in ((Reader, "Slow.netwrok"), (Patient, "Reader.behavior")):
        with pytest.raises(ScenarioError, match=said):
            kind.check(Target(), {})


def test_what_the_class_reads_itself_or_is_called_otherwise_is_its_own_business() -> None:
    class Reader(StreamUser):
        prompt = "How deep is the river?"
        clients: ClassVar = ["a", "b"]
        topic = "rivers"
        _netwrok = "3g"

        @task  # type: ignore[untyped-decorator]
        def ask(self) -> None:
            self.stream(self.prompt)

        @task  # type: ignore[untyped-decorator]
        def tool(self) -> None:
            """A task may have any name."""

        @property
        def first(self) -> str:
            return str(self.clients[0])

    Reader.check(Target(), {})


def test_shapes_are_checked_as_users_are() -> None:
    for base, attributes in ((Steps, {"user": (1, 2)}), (Spike, {"second": (1, 2, 3)})):
        shape = type("Mine", (base,), attributes)()
        with pytest.raises(ScenarioError, match=rf"Mine\.{next(iter(attributes))}: .* did you mean"):
            shape.check()
    type("Mine", (Steps,), {"users": (1, 2), "colour": "blue"})().check()


def test_classes_that_name_each_other_are_read_once() -> None:
    one, other = user(), user()
    one.other, other.one = other, one
    assert list(misspelt(one, StreamUser, ("network",))) == []
