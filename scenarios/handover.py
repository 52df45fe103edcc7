"""Phones whose connection breaks between two cells: does the answer go on, and what does the break cost?

Half of them have an app that comes back with the id of the last event; the others lose the rest of the answer. Look at
`resume_gap`, `resume_lost` and `resume_duplicated`, and, where a server keeps no answers, at how many are asked anew.
"""

from streamgauge.scenario import StreamUser, between, task


class Walker(StreamUser):
    abstract = True
    network = "cell_edge"
    prompts = "short"
    wait_time = between(1, 3)

    @task
    def ask(self) -> None:
        self.stream()


class GoesOn(Walker):
    behaviour = "reconnects"


class LosesIt(Walker):
    behaviour = "patient"
