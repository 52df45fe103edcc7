"""A page of metrics in Prometheus's text format: one metric's sum over its labels."""

import math

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from streamgauge.harness.drive.server_metrics import total

label = st.text().map(lambda text: text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\""))
samples = st.tuples(st.sampled_from(["a", "a_total", "ab", "a:b"]), st.lists(label, max_size=2), st.floats())


@given(st.lists(samples), st.sampled_from(["a", "a_total"]))
@example([("a", ["}"], 1.0), ("a", ['\\"} 7'], 2.0), ("ab", [], 4.0)], "a")
def test_labels_are_added_up_as_prometheus_reads_them(samples: list[tuple[str, list[str], float]], name: str) -> None:
    lines = ["# TYPE a gauge"]
    for metric, values, number in samples:
        labels = ",".join(f'l{place}="{value}"' for place, value in enumerate(values))
        lines.append(f"{metric}{f'{{{labels}}}' if labels else ''} {number}")
    text = "".join(f"{line}\n" for line in lines)
    families = text_string_to_metric_families(text)
    numbers = [sample.value for family in families for sample in family.samples if sample.name == name]
    sound = numbers and all(map(math.isfinite, numbers))
    assert total(text.encode("utf-8", "surrogatepass"), name) == (sum(numbers) if sound else None)


def test_a_page_made_to_be_slow_is_not() -> None:
    evil = [b"a{" + b'"' * 1_000_000, b'a{"' + rb"\"" * 500_000, b"a {" * 300_000, b" " * 1_000_000, b"\n" * 1_000_000]
    assert [total(text, "a") for text in evil] == [None] * len(evil)
