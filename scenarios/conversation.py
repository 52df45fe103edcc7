"""Conversations: how does the first token hold up as the history grows?

Two to six questions each behind a long system prompt, every one with all that was said before it, and reading in
between. Prefill grows with the history unless the server caches it: see the cached tokens, and TTFT turn by turn.
"""

from streamgauge.scenario import StreamUser, handbook, reading, task


class Talker(StreamUser):
    network = "wifi"
    prompts = "medium"
    system = handbook()
    wait_time = reading()

    @task
    def talk(self) -> None:
        for number, prompt in enumerate(self.conversation(turns=(2, 6)), 1):
            self.stream(prompt, labels={"phase": f"turn {number}"})
            self.wait()
