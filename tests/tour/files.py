"""What the commands of the tour read, by file name. Limits are so wide that a busy machine changes no verdict."""

FILES = {
    "streamgauge.toml": """
[target]
max_tokens = 8

[[sla]]
rule = "p50(ttft) < 20s"

[[sla]]
rule = "error_rate < 50%"

[regression]
metrics = ["p50(ttft)"]
margin = 0.5
first_runs = 2
fresh_runs = 3
""",
    "own-format.toml": """
[target]
protocol = "custom"
path = "/v1/chat/completions"
model = "reference"
max_tokens = 8

[target.request]
body = { model = "{model}", stream = true, messages = "{messages}", max_tokens = "{max_tokens}" }

[target.events]
text = "choices.0.delta.content"
end_data = "[DONE]"

[[sla]]
rule = "error_rate < 50%"
""",
    "strict.toml": """
[target]
max_tokens = 8

[[sla]]
rule = "p50(ttft) < 1ms"
""",
    "typo.toml": '[[sla]]\nrule = "p95(ttfb) < 1s"\n',
    "mine.py": """
from streamgauge.scenario import StreamUser, constant, task


class Reader(StreamUser):
    wait_time = constant(0.1)
    weight = 3

    @task
    def ask(self) -> None:
        self.stream("What is a stream gauge?")


class Commuter(StreamUser):
    network = "fast_4g"
    wait_time = constant(0.1)

    @task
    def talk(self) -> None:
        self.conversation()
""",
    "broken.py": "from streamgauge.scenario import StreamUser\n\nclass Reader(StreamUser)\n",
    "test_sla.py": """
import os


def test_first_tokens(streamgauge):
    run = streamgauge.run("mine.py", host=os.environ["TARGET"], users=4, run_time="4s")
    assert run.p50("ttft") < 20
    assert run.rate("error_rate") < 0.5
""",
}
NAMESAKES = ("harness", "scenarios", "reports", "reference_server")  # our folders, as somebody's own packages
