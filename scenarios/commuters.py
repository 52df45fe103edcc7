"""People on the move: what do tunnels, cell changes and a driving phone's stalls do to an answer?

A third sit in a train with tunnels, a third in a car on LTE, a third have only UMTS there. Look at the stalls, and at
the streams that a cell change broke off: they are cancelled, since the server could do nothing about it.
"""

from streamgauge.scenario import StreamUser, between, task


class Commuter(StreamUser):
    abstract = True
    wait_time = between(2, 6)

    @task
    def ask(self) -> None:
        self.stream()


class TrainRider(Commuter):
    network = "commute"


class Passenger(Commuter):
    network = "lte_driving"


class FarFromTown(Commuter):
    network = "umts_driving"
    prompts = "short"
