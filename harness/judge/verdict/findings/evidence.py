"""What findings are computed from: a bounded sample of the streams, the run's course over time, and its counts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.store import Run, Texts, VitalSeries, selected_by
from streamgauge.harness.judge.verdict.sla import Verdict
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.failure import Failure
from streamgauge.harness.record.vitals import Vital

SHORTEST = 5.0  # s: what breaks earlier is no timeout on the way
_LONGEST_NAME = 60  # characters of a label's name
_FEWEST_IN_A_GROUP = 20  # streams, to know a group's own median


@dataclass(frozen=True)
class Sample:
    """Some of the streams, or all of a run of up to MOST of `collector`: columns of equal length, NaN if not observed.

    `wait` is the server's part of the TTFT, from the request's last byte to the first content, before the link.
    """

    due: Floats  # s since the run began
    wait: Floats  # ms; NaN for answers in one piece and for the rest of a resumed answer
    ttft: Floats  # ms, as the person saw it
    connect: Floats  # ms for name, TCP and TLS; NaN on a connection that was there already
    pace: Floats  # ms, the mean gap between content chunks on the wire
    stall: Floats  # ms, the longest gap on the wire; 0 if it is below 250 ms, and where a tool ran
    stalled_at: Floats  # s, when that gap began
    seen_stall: Floats  # ms, the longest gap for the person, after the emulated link
    chunks: Floats  # of content, how many
    bursts: Floats  # groups of chunks that came within 1 ms of each other
    lone_bursts: Floats  # of these, with a single chunk
    span: Floats  # ms from the first to the last content, on the wire
    late_reads: Floats  # share of the reads that our own process was late for
    input_tokens: Floats
    output_tokens: Floats
    http_status: Floats
    retry_after: Floats  # s that the server asked to wait
    after_refusal: Floats  # s that the user had waited since the stream before was refused
    # user, network, client, behaviour, protocol, cache, outcome, labels, worker, stop_reason, address, replica
    text: dict[str, Texts]

    def __len__(self) -> int:
        return len(self.due)

    def after_the_server(self, where: Where) -> Floats:
        """What is left of each stream's TTFT without the server's part, ms: connecting, our send lag, and the link.

        Sorted, of those streams of the sample that `where` selects and of which both are known.
        """
        left = np.maximum(0.0, self.ttft - self.wait)[selected_by(where, self.text, len(self))]
        known: Floats = np.sort(left[~np.isnan(left)])
        return known

    def groups(self) -> Iterator[tuple[str, Texts]]:
        """Every key whose values could divide the streams: those of `where`, each label, the worker and the server."""
        for key in ("user", "network", "client", "behaviour", "protocol", "worker", "address", "replica"):
            if len(self.text[key].values) > 1:
                yield key.replace("user", "user class"), self.text[key]
        yield from self._labels()

    def _labels(self) -> Iterator[tuple[str, Texts]]:
        written = self.text["labels"]
        decoded: list[dict[str, str]] = [json.loads(text) for text in written.values]
        for name in sorted({name for labels in decoded for name in labels}):
            values = Texts.of([labels.get(name, "") for labels in decoded])
            if len(values.values) > 1:
                yield f"label {shortened(name, _LONGEST_NAME)}", Texts(values.values, values.codes[written.codes])

    def relative(self, column: Floats) -> Floats:
        """A column divided by the median of its user class and network: other users are no change in the server.

        NaN for a group of fewer than 20 known values.
        """
        group = self.text["user"].codes * len(self.text["network"].values) + self.text["network"].codes
        result = np.full(len(column), np.nan)
        for one in np.unique(group):
            mine = (group == one) & ~np.isnan(column)
            if mine.sum() >= _FEWEST_IN_A_GROUP and (median := float(np.median(column[mine]))) > 0:
                result[mine] = column[mine] / median
        return result


@dataclass(frozen=True)
class Course:
    """The run over time, counted exactly over all streams, in slices of `width` seconds."""

    width: float
    begun: Integers  # streams that began in the slice
    completed: Integers  # answers that were complete in it
    # At the middle of each slice:
    open: Integers  # streams that had begun and not ended
    receiving: Integers  # streams between their first and their last content
    silent: Integers  # of these, inside a gap of 250 ms or more

    @property
    def middles(self) -> Floats:
        """Of the slices, s since the run began."""
        return (np.arange(len(self.open), dtype=np.float64) + 0.5) * self.width

    def open_at(self, seconds: Floats) -> Floats:
        place = np.clip(seconds / self.width, 0, len(self.open) - 1).astype(np.int64)
        return self.open[place].astype(np.float64)

    def open_before(self, seconds: Floats) -> Floats:
        """At the last middle of a slice before these moments, so that a stream that begins then does not count."""
        place = np.clip(np.ceil(seconds / self.width - 0.5), 0, len(self.open)).astype(np.int64)
        before: Floats = np.concatenate([[0.0], self.open])
        return before[place]

    def begun_before(self, seconds: Floats, within: float) -> Floats:
        """How many streams began in the whole slices of so many seconds before each of these moments."""
        last = np.clip(seconds / self.width, 0, len(self.begun)).astype(np.int64)
        first = np.maximum(0, last - max(1, round(within / self.width)))
        begun: Floats = np.concatenate([[0.0], np.cumsum(self.begun)])
        return begun[last] - begun[first]


@dataclass(frozen=True)
class Broken:
    """Streams that the other side ended before their answer was complete, SHORTEST or more after the request."""

    idle: Floats  # s from the last event, or from the request if there was none, to the break
    age: Floats  # s from the request to the break


@dataclass(frozen=True)
class Evidence:
    run: Run
    totals: Totals  # of all measured streams
    failures: Sequence[Failure]
    vitals: Mapping[Vital, VitalSeries]
    validity: Validity  # whether the generator measured itself
    sample: Sample
    course: Course
    broken: Broken
    verdicts: Sequence[Verdict] = ()  # of the run's rules
