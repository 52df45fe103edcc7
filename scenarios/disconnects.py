"""People who leave: does the server notice, and do the others' streams stay undisturbed?

Some press the stop button in the middle of an answer and ask again, some close the tab, some have their app killed (a
reset instead of an orderly close). A deliberate leave is neither an error nor a completion.
"""

from streamgauge.scenario import StreamUser, between, task


class Leaver(StreamUser):
    abstract = True
    wait_time = between(1, 3)

    @task
    def ask(self) -> None:
        self.stream()


class Stopper(Leaver):
    weight = 3
    network = "wifi"
    behaviour = "stop_button"


class TabCloser(Leaver):
    weight = 2
    network = "wifi"
    behaviour = "closed_tab"


class AppSwitcher(Leaver):
    weight = 1
    network = "fast_4g"
    behaviour = "killed_app"
