"""Where the `streamgauge` command begins: signals are handled before anything else is imported, which takes a while."""

from streamgauge.harness import interrupt


def main() -> None:
    interrupt.handle()
    from streamgauge.harness.cli import main as command  # noqa: PLC0415 - only now

    command()
