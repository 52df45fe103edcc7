"""What the monitor asks: is the endpoint as quick as yesterday, for somebody new and for somebody who is back?

Each visit opens a connection and asks a short question that no prompt cache knows; one visit in four asks another one
at once, over the connection that is now warm. One visit in 250 asks behind a long handbook, twice, so that the second
question can be answered from the prompt cache. The labels `prompt` and `connection` tell them apart.
"""

from uuid import uuid4

from streamgauge.scenario import Prompt, StreamUser, between, handbook, task

TOKENS = 32  # of an answer: enough for its beginning and a few gaps


class Prober(StreamUser):
    wait_time = between(48, 72)  # without a monitor, which says when each visit is due

    @task(187)
    def ask(self) -> None:
        self.hang_up()
        self.ask_short()

    @task(62)
    def ask_twice(self) -> None:
        self.ask()
        self.ask_short()

    @task(1)
    def ask_behind_the_handbook(self) -> None:
        self.hang_up()
        for _ in range(2):
            question = (("user", "What are the opening hours?"),)
            self.probe(Prompt(question, system=handbook(), cached=True, max_tokens=TOKENS), "long")

    def ask_short(self) -> None:
        """The nonce comes first: a cache of prompts compares them from their beginning."""
        question = f"[{uuid4().hex[:12]}] Name three rivers, and where each of them ends."
        self.probe(Prompt((("user", question),), max_tokens=TOKENS), "short")

    def probe(self, prompt: Prompt, kind: str) -> None:
        self.stream(prompt, labels={"prompt": kind, "connection": "warm" if self.connected else "cold"})
