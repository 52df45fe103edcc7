"""One long system prompt for everybody: what does a warm prefix save?

Three of four ask behind the same handbook, marked for the server's prompt cache: the first of them writes it there, the
others read it. One of four has a handbook that begins with a line of its own, so that nothing of it is ever found. See
TTFT with and without a hit, and `cache_hit_rate`.
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
