"""Vitals: the once-a-second figures of a process that simulates users, and of the server under test.

`Vital` names each of them once, for the code that samples them and the code that judges and draws them. A member's
value is the name in the database; it never changes.
"""

from enum import StrEnum
from typing import NamedTuple


class Vital(StrEnum):
    """Each entry: stored name, unit, meaning and, if a process's summary has its worst value, the name there."""

    unit: str
    meaning: str
    worst_as: str

    def __new__(cls, name: str, unit: str, meaning: str, worst_as: str = "") -> "Vital":
        vital = str.__new__(cls, name)
        vital._value_ = name
        vital.unit, vital.meaning = unit, meaning
        vital.worst_as = worst_as  # "worst" is the value farthest from 0
        return vital

    # Of each process that simulates users.
    USERS = "users", "users", "simulated users"
    ACTIVE_STREAMS = "active_streams", "streams", "streams under way"
    STREAMS_BEGUN = "streams_begun", "streams", "streams begun since the run began"
    HELD_STREAMS = "held_streams", "streams", "finished streams whose users wait for room in the outbox; absent if none"
    STARVED_STREAMS = (
        "starved_streams",
        "streams",
        "streams so far that found no socket, port or memory",
    )
    OWN_FAULTS = "own_faults", "faults", "exceptions in our own recording so far"
    ARRIVALS = "arrivals", "arrivals", "arrivals of an open load that were due so far"
    DROPPED_ARRIVALS = "dropped_arrivals", "arrivals", "of these, dropped so far because nobody was free to serve them"
    CONNECT_LAG = (
        "connect_lag_ms",
        "ms",
        "the most that a connection was noticed later than the kernel had it, in this second",
        "connect_lag_max_ms",
    )
    LATE_CONNECTIONS = "late_connections", "connections", "connections so far that were noticed 10 ms or more late"
    CPU_PERCENT = "cpu_percent", "%", "CPU use of the process, as a share of one core", "cpu_max"
    PYTHON_PERCENT = "python_cpu_percent", "%", "CPU use of the thread that runs Python's event loop, of one core"
    READER_PERCENT = (
        "reader_cpu_percent",
        "%",
        "CPU use of all other threads, which is mostly the one that reads sockets, of one core",
    )
    CPU_WAIT = "cpu_wait_percent", "%", "the most that one of its threads was ready to run without a core, of the time"
    OTHERS_PERCENT = (
        "others_cpu_percent",
        "%",
        "CPU use of all other programs on the cores that the process may use, of one core",
    )
    STEAL_PERCENT = "steal_percent", "%", "time of these cores that the virtual machine's host withheld, of one core"
    THROTTLED_PERCENT = "throttled_percent", "%", "periods in which the CPU limit of the container stopped its threads"
    LOOP_LAG = "loop_lag_ms", "ms", "the most that a timer of the event loop was late in this second", "loop_lag_max_ms"
    LOOP_STOPPED = "loop_stopped_ms", "ms", "how long timers waited in this second, in waits of 50 ms or more"
    GC_PAUSE = "gc_pause_ms", "ms", "length of one garbage collection, once a minute", "gc_pause_max_ms"
    CLOCK_DRIFT = "clock_drift_ns", "ns", "how far the wall clock was stepped since the run began", "clock_drift_ns"

    # Of the server, from its own metrics page.
    SERVER_ACTIVE = "server_active", "answers", "answers that the server is generating: a gauge"
    SERVER_GENERATED = "server_generated", "tokens", "tokens that the server has generated since it started: a counter"


# What a process lacked because others had its cores.
LACK_OF_CORES = (Vital.CPU_WAIT, Vital.OTHERS_PERCENT, Vital.STEAL_PERCENT, Vital.THROTTLED_PERCENT)


class VitalSample(NamedTuple):
    at: int  # ns on the run's clock
    vital: Vital
    value: float
