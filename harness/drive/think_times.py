"""How long a user waits before the next question: functions for `wait_time` of a scenario's class."""

from collections.abc import Callable

from streamgauge.harness.drive.users import StreamUser, assigned
from streamgauge.harness.record.observation import FAILURES


def between(least: float, most: float) -> Callable[[StreamUser], float]:
    """Think time in seconds: uniform between two bounds, from the user's own seeded random generator."""
    return lambda user: user.random.uniform(least, most)


def reading(characters_per_second: float = 24, least: float = 0.5, most: float = 2.0) -> Callable[[StreamUser], float]:
    """Think time in seconds: the time until the person has read the answer, plus `least` to `most`.

    Reading starts with the first text and goes on while the rest arrives. 24 characters per second: silent reading.
    """

    def wait(user: StreamUser) -> float:
        pause = user.random.uniform(least, most)
        seen = user.last
        if seen is None or seen.first_text_at is None:
            return pause
        return pause + max(0.0, seen.characters / characters_per_second - (seen.ended_at - seen.first_text_at) / 1e9)

    return wait


def at_once(user: StreamUser) -> float:
    """No think time. After a failed stream, wait as long as an answer takes.

    Otherwise, a server that refuses at once would be asked more often.
    """
    seen, run = user.last, assigned(user.environment)
    if seen is None or run is None:
        return 0.0
    took = (seen.ended_at - seen.due_at) / 1e9
    if seen.outcome in FAILURES:
        return max(0.0, run.answer_time - took)
    run.answer_time = took
    return 0.0
