"""People who leave: does the server notice, and does everybody else's stream survive it?

Some press the stop button mid-answer and ask again, some close the tab, some have the app killed under them (a
reset instead of a goodbye). A leave that was meant is neither an error nor a completion.
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
