"""A population like the one outside: does the SLA hold for all the people who are there?

Most read at home, many are on phones, some leave in the middle; the default scenario. Of twelve users six read
patiently on wifi, two on a good phone link, two on slow 4G, one presses stop, and one closes the tab.
"""

from streamgauge.scenario import StreamUser, between, task


class Person(StreamUser):
    abstract = True
    wait_time = between(1, 4)

    @task
    def ask(self) -> None:
        self.stream()


class Reader(Person):
    weight = 6
    network = "wifi"


class PhoneReader(Person):
    weight = 2
    network = "fast_4g"


class Commuter(Person):
    weight = 2
    network = "slow_4g"
    prompts = "short"


class Stopper(Person):
    weight = 1
    network = "wifi"
    behaviour = "stop_button"


class TabCloser(Person):
    weight = 1
    network = "fast_4g"
    behaviour = "closed_tab"
