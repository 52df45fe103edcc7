"""Whether the server is idle again after the last stream, by its own metrics page. Pure.

The load generator uses this to decide how long to go on sampling, and the judge to find when the server stopped.
"""

from collections.abc import Sequence

WATCHED = 5_000_000_000  # ns of sampling after the last stream; a server that is busy to its end has not stopped


def idle_level(active: Sequence[float], generated: Sequence[float]) -> float | None:
    """The value of `Vital.SERVER_ACTIVE` at which the server serves none of our streams. None if unknown.

    `active` and `generated` are the samples of the two server vitals from before the first stream, in order of time.
    Other people may use the server, so the level is the last value of `active`. But some servers do not update that
    gauge after all their answers were aborted (vllm-project/vllm#29928): if the counter `generated` did not move
    between the samples, the gauge is stale and the level is 0.
    """
    if not active:
        return None
    stale = len(generated) > 1 and generated[0] == generated[-1]
    return 0.0 if stale else active[-1]
