"""One long system prompt for everybody: how much does a warm prompt cache save?

Three of four users have the same handbook as their system prompt, marked for the server's prompt cache: the first
request writes it to the cache, later ones read it. One of four starts the handbook with a unique line, so that the
cache never has it. Compare TTFT with and without a cache hit, and see `cache_hit_rate`.
"""

from uuid import uuid4

from streamgauge.scenario import StreamUser, between, handbook, task


class Clerk(StreamUser):
    abstract = True
    network = "wifi"
    prompts = "short"
    wait_time = between(1, 4)


class Warm(Clerk):
    weight = 3
    system = handbook()

    @task
    def ask(self) -> None:
        self.stream()


class Cold(Clerk):
    @task
    def ask(self) -> None:
        self.system = f"Case {uuid4()}.\n\n{handbook()}"
        self.stream()
