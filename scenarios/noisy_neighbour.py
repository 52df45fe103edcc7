"""Very slow readers: do fifty of them, at 2 KB/s, make the answers of the others stutter?

Twenty patient readers have the server to themselves for a minute; then fifty users join whose links carry less than the
model writes, so that the server must hold data back. Each patient answer is labelled with its phase: report and JSON
show ITL for `alone` and `beside`. Only long answers fill the kernels' buffers: see
docs/reference/networks.md.
"""

from time import monotonic

from streamgauge.scenario import Steps, StreamUser, between, task

ALONE = 60.0  # seconds until the slow readers join
MARGIN = 10.0  # seconds; a question asked this close to the change belongs to neither phase


class Patient(StreamUser):
    fixed_count = 20
    network = "wifi"
    wait_time = between(1, 3)

    def on_start(self) -> None:
        self.began = monotonic()

    @task
    def ask(self) -> None:
        at = monotonic() - self.began
        phase = "alone" if at < ALONE - MARGIN else "beside" if at > ALONE + MARGIN else "between"
        self.stream(labels={"phase": phase})


class Stalled(StreamUser):
    network = "trickle"
    prompts = "long"
    wait_time = between(1, 3)

    @task
    def ask(self) -> None:
        self.stream()


class Street(Steps):
    users = (20, 70)
    seconds = ALONE
