"""Fifty patient readers, later joined by two hundred whose links carry a third of what the model writes."""

from time import monotonic

from streamgauge.scenario import Prompt, Steps, StreamUser, constant, task

# Seconds until all patient readers run; until the others join; until these are slowed down.
STARTED, ALONE, SETTLED = 3.0, 12.0, 25.0
_QUESTION = (("user", "How does a lock work?"),)


class Patient(StreamUser):
    fixed_count = 50
    wait_time = constant(0.5)

    def on_start(self) -> None:
        self.began = monotonic()

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:
        at = monotonic() - self.began
        alone = STARTED < at < ALONE - 3  # an answer takes 2.2 s
        phase = "alone" if alone else "beside" if at > SETTLED else "between"
        self.stream(Prompt(_QUESTION, max_tokens=100), labels={"phase": phase})


class Slow(StreamUser):
    network = "trickle"
    wait_time = constant(0)

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:
        self.stream(Prompt(_QUESTION, max_tokens=5_000))


class Street(Steps):
    users = (50, 250, 250, 250)
    seconds = ALONE
