"""Misspelt attributes of a scenario's classes are told; attributes of the scenario's own are not.

What stands for StreamUser here has its attributes and not Locust, which no process of the tests imports;
tests/runs/test_mistakes.py has the line that a run says.
"""

from typing import Any, ClassVar

import pytest

from streamgauge.harness.drive.attributes import misspelt

SETTABLE = (
    "network",
    "behaviour",
    "client",
    "prompts",
    "labels",
    "weight",
    "wait_time",
    "on_start",
    "fresh_connections",
)


class User:
    """Every attribute that a scenario may set, and some methods."""

    network = behaviour = client = prompts = labels = weight = wait_time = fresh_connections = None

    def on_start(self) -> None:
        """Nothing: a scenario may have its own."""

    def stream(self) -> None:
        """What a task calls."""


def ask(self: Any) -> None:
    self.stream()


def user(**attributes: Any) -> Any:
    return type("Reader", (User,), {"ask": ask, **attributes})


def found(kind: type, base: type = User, settable: tuple[str, ...] = SETTABLE) -> list[str]:
    return list(misspelt(kind, base, settable))


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
        ("wait_tiem", lambda _: 1.5, "wait_time"),
        ("on_strat", lambda _: None, "on_start"),
        ("fresh_connection", True, "fresh_connections"),
    ],
)
def test_an_attribute_that_is_almost_one_of_ours_or_locusts_is_a_mistake(name: str, value: Any, meant: str) -> None:
    """Issue 17, 5: the run was met with the default person on the default link."""
    (said,) = found(user(**{name: value}))
    assert said.startswith(f"Reader.{name}: ")
    assert said.endswith(f"did you mean {meant!r}?")


def test_a_misspelt_attribute_of_a_mixin_or_a_base_class_is_found_too() -> None:
    class Slow:
        netwrok = "3g"

    class Reader(Slow, User):
        pass

    class Patient(user(behavior="patient")):  # type: ignore[misc]
        pass

    for kind, said in ((Reader, "Slow.netwrok"), (Patient, "Reader.behavior")):
        assert [line.partition(":")[0] for line in found(kind)] == [said]


def test_what_the_class_reads_itself_or_is_called_otherwise_is_its_own_business() -> None:
    class Reader(User):
        prompt = "How deep is the river?"
        clients: ClassVar = ["a", "b"]
        topic = "rivers"
        _netwrok = "3g"

        def ask(self) -> None:
            print(self.prompt)

        def tool(self) -> None:
            """A task may have any name."""

        @property
        def first(self) -> str:
            return str(self.clients[0])

    Reader.tool.locust_task_weight = 1  # type: ignore[attr-defined]  # as @task does
    assert found(Reader) == []


def test_classes_that_name_each_other_are_read_once() -> None:
    one, other = user(), user()
    one.other, other.one = other, one
    assert found(one) == []
