"""Queues of the reference server, simulated: from which load on do 5 % of the streams wait too long? Pure.

The server answers so many streams at a time and queues the others. Above half of that, every wait grows in proportion
to the streams that run, up to twice as long.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple

SPREAD = 0.2  # coefficient of variation of every wait
_SHARE = 0.05
_STREAMS = 40_000  # of users; at a rate, long queues are rarer and last longer
_STREAMS_OF_RATE = 160_000


class Server(NamedTuple):
    slots: int
    tokens: tuple[int, int]
    ttft_ms: float  # of an idle server
    itl_ms: float
    limit_ms: float  # of TTFT


class _Answer:
    """One stream: when it was due, and its tokens."""

    def __init__(self, number: int, due: float, tokens: int) -> None:
        self.number = number
        self.due = due
        self.left = tokens
        self.began = False


def knee_of_users(server: Server) -> float:
    """The number of users, each of whom asks again at once; between two whole ones."""
    return _knee(lambda users: _late(server, users, 0.0), server.slots, 2 * server.slots, 1)


def knee_of_rate(server: Server) -> float:
    """The streams that become due per second, to a hundredth."""
    most = round(100 * most_per_second(server))
    return _knee(lambda rate: _late(server, 0, rate / 100_000), most * 4 // 5, most * 6 // 5, most // 100) / 100


def most_per_second(server: Server) -> float:
    """What the server sustains: slots / time of an answer when all are taken."""
    took = 2 * (server.ttft_ms + (sum(server.tokens) / 2 - 1) * server.itl_ms)
    return 1000 * server.slots / took


def _knee(late: Callable[[int], float], low: int, high: int, close: int) -> float:
    """Halves the range down to `close`; between the two loads, the logarithm of the share is a line."""
    shares = {low: late(low), high: late(high)}
    assert shares[low] < _SHARE < shares[high]
    while high - low > close:
        middle = (low + high) // 2
        shares[middle] = late(middle)
        low, high = (middle, high) if shares[middle] < _SHARE else (low, middle)
    below, above = (math.log(max(shares[each], 1e-4)) for each in (low, high))
    return low + (high - low) * (math.log(_SHARE) - below) / (above - below)


def _late(server: Server, users: int, per_ms: float) -> float:
    """The share of streams whose first token comes later than the limit: of so many users, or at this rate."""
    random = Random(1)
    sigma = math.sqrt(math.log1p(SPREAD**2))
    waiting: deque[_Answer] = deque()
    numbers = iter(range(1, 1 << 62))
    tie = iter(range(1 << 62))
    running = late = judged = 0
    # What happens when: None: somebody asks; else the answer's next token is due.
    events: list[tuple[float, int, _Answer | None]] = [
        (random.uniform(0, 2000), next(tie), None) for _ in range(users or 1)
    ]
    heapq.heapify(events)
    streams = _STREAMS if users else _STREAMS_OF_RATE
    while judged < streams:
        now, _, answer = heapq.heappop(events)
        if answer is None:
            waiting.append(_Answer(next(numbers), now, random.randint(*server.tokens)))
            if not users:
                heapq.heappush(events, (now + random.expovariate(per_ms), next(tie), None))
        else:
            if not answer.began and answer.number > streams // 10:
                judged += 1
                late += now - answer.due > server.limit_ms
            answer.began = True
            answer.left -= 1
            if answer.left:
                wait = server.itl_ms * random.lognormvariate(-sigma * sigma / 2, sigma)
                heapq.heappush(events, (now + wait * _slower(running, server), next(tie), answer))
                continue
            running -= 1
            if users:
                heapq.heappush(events, (now, next(tie), None))
        while running < server.slots and waiting:
            running += 1
            first = server.ttft_ms * random.lognormvariate(-sigma * sigma / 2, sigma)
            heapq.heappush(events, (now + first * _slower(running, server), next(tie), waiting.popleft()))
    return late / judged


def _slower(running: int, server: Server) -> float:
    return max(1.0, 2 * running / server.slots)
