"""Strangers who come when they come: does the server keep up when nobody waits for it?

Run it as an open load: `streamgauge run arrivals --arrivals poisson --rate 20`, or `locust` with `--gauge-arrivals` and
`--gauge-rate`. Raise the rate until TTFT over time climbs and never comes back: that is more than the server can serve.
"""

from streamgauge.scenario import StreamUser, task


class Visitor(StreamUser):
    weight = 3
    network = "wifi"
    fresh_connections = True

    @task
    def ask(self) -> None:
        self.stream()


class PhoneVisitor(Visitor):
    weight = 1
    network = "fast_4g"
    behaviour = "impatient"
    prompts = "short"
