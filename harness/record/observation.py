"""The record of one stream.

A `StreamObservation` is made once, when its stream has ended in any way, with everything that was received. What was
not observed is None, never 0. Moments are integer nanoseconds on the run's clock (`clock.RunClock`).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import KINDS, Chunk, Kind

__all__ = ["ABANDONED", "CONTENT", "DISCONNECTED", "FAILURES", "Chunk", "Kind", "Outcome", "StreamObservation"]


class Outcome(StrEnum):
    COMPLETED = "completed"
    TRUNCATED = "truncated"  # the response ended cleanly, but without a terminal event
    SERVER_ERROR = "server_error"  # an error event inside a 200
    REFUSED = "refused"  # an HTTP status other than 2xx, or the server's words that it will not answer
    UNREACHABLE = "unreachable"  # no connection: DNS, TCP or TLS
    RESET = "reset"  # the connection broke before the answer's end
    TIMED_OUT = "timed_out"  # detail says which: connect, first token, idle, total
    EMPTY = "empty"  # ended as it should; brought no text, thinking or tool call, or only blanks
    MALFORMED = "malformed"  # violates the protocol, or exceeds a limit of the config
    CANCELLED = "cancelled"  # the simulated person left, as the scenario meant
    # Ended or never sent on our side, and not by the plan: the detail says why. Neither a failure nor a completion.
    INTERRUPTED = "interrupted"


MOST_RETRY_AFTER = 7 * 86_400 * 10**9  # ns: a longer wait is recorded as this
ABANDONED = frozenset({Outcome.CANCELLED, Outcome.INTERRUPTED})  # our side ended it before the answer was complete
FAILURES = frozenset(Outcome) - ABANDONED - {Outcome.COMPLETED}
# One of the two sides ended the connection while the server may still have been generating the answer.
DISCONNECTED = ABANDONED | {Outcome.TIMED_OUT, Outcome.RESET, Outcome.MALFORMED}

CONTENT = frozenset({Kind.TEXT, Kind.THINKING, Kind.TOOL})  # the first of these ends the TTFT
SEVERAL_TOKENS = 60  # characters that are more than one token, where the server tells no number
_TEXT, _TOOL = KINDS.index(Kind.TEXT), KINDS.index(Kind.TOOL)


class StreamObservation(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    # identity
    scenario: str
    user: str  # the user class
    protocol: str
    client: str
    network: str
    behaviour: str
    answer: str = "streamed"  # or "whole": the request asked for the answer in one piece, stored as one chunk
    worker: str = "local"
    sequence: int = 0  # of the stream, within its worker
    labels: dict[str, str] = {}

    # moments, ns on the run's clock
    due_at: int
    started_at: int | None = None  # connect begins; None if no attempt was made
    resolved_at: int | None = None  # DNS answered; this and the next two are None on a reused connection
    connected_at: int | None = None  # TCP
    secured_at: int | None = None  # TLS
    sent_at: int | None = None  # the request's last byte handed to the kernel
    headers_at: int | None = None
    first_content_at: int | None = None  # text, thinking or tool input, as perceived
    first_text_at: int | None = None
    last_content_at: int | None = None
    first_content_wire_at: int | None = None  # on the wire, before the emulated link
    ended_at: int

    # end
    outcome: Outcome
    detail: str = ""  # one sentence for a person
    http_status: int | None = None
    stop_reason: str | None = None
    oddities: dict[str, int] = {}  # what was odd but readable, and how often: constant sentences, none of the server's

    # content
    content_chunks: int = 0
    characters: int = 0  # of content
    # Total time between a tool's input and the content after it, ns. None: no content followed a tool's input.
    tool_pause: int | None = None
    body_bytes: int = 0  # of the answer, after transfer decoding
    arrivals: bytes = b""  # every event, content or not; as `record/arrivals.py` encodes them

    # as the server reported
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    request_id: str | None = None
    address: str | None = None  # the server's IP address: of the connection, or the last one that was tried
    replica: str | None = None  # which server answered, by the response header `target.replica_header`
    resumed_from: str | None = None  # id of the event after which it resumed an answer; None: it started one
    retry_after: int | None = None  # how long the server asked to wait before asking again, ns; see MOST_RETRY_AFTER

    after_refusal: int | None = None  # from the refusal (429, 503, 529) of this user's stream before to this one, ns

    # of a stream that resumed an answer; None for any other stream, or if it is unknown
    resume_gap: int | None = None  # from the last content before (or the first request) to the first new content, ns
    resume_lost: int | None = None  # event numbers skipped so far that no other record of the answer counts
    resume_duplicated: int | None = None  # content chunks that had arrived before

    # the instrument's own errors
    send_lag: int | None = None  # started_at minus due_at, ns
    reads: int = 0
    coalesced_reads: int = 0  # reads that held two or more content chunks
    saturated_reads: int = 0  # of these, late reads: coalesced by the generator, not by the server
    unstamped_reads: int = 0  # reads without a kernel stamp; their time is when we read them
    read_lag_mean: int | None = None  # our read minus the kernel's stamp, ns
    read_lag_max: int | None = None

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Every event that arrived, in order, content or not; times to the microsecond."""
        return arrivals.decode(self.arrivals)


def content_moments(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """The fields of a StreamObservation that follow from its chunks."""
    return moments_of(
        arrivals.kind_codes(chunk.kind for chunk in chunks),
        np.array([chunk.characters for chunk in chunks], np.int64),
        np.array([chunk.at for chunk in chunks], np.int64),
        np.array([chunk.perceived_at for chunk in chunks], np.int64),
    )


def moments_of(
    kind: NDArray[np.uint8], characters: NDArray[np.int64], at: NDArray[np.int64], perceived_at: NDArray[np.int64]
) -> dict[str, Any]:
    """Like `content_moments`, for events as columns: kinds as codes of `arrivals`, times in ns."""
    (content,) = arrivals.is_content(kind).nonzero()
    if not len(content):
        return {}
    first, last = content[0], content[-1]
    moments: dict[str, Any] = {
        "content_chunks": len(content),
        "characters": int(characters[content].sum()),
        "first_content_at": int(perceived_at[first]),
        "last_content_at": int(perceived_at[last]),
        "first_content_wire_at": int(at[first]),
    }
    codes = kind.tobytes()
    if (text := codes.find(_TEXT)) >= 0:
        moments["first_text_at"] = int(perceived_at[text])
    if _TOOL in codes:
        after = content[after_tools(kind[content])]
        before = content[np.searchsorted(content, after) - 1]
        if len(after):
            moments["tool_pause"] = int((perceived_at[after] - perceived_at[before]).sum())
    return moments


def after_tools(content: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Indices of the content that directly follows a tool's input and is no tool input: the tool ran before it."""
    tool = content == _TOOL
    return np.flatnonzero(tool[:-1] & ~tool[1:]) + 1
