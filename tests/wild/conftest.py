"""Tells at the end which of other people's programs were asked, and which were not, with the reason."""

from collections.abc import Callable

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real(name): the program that a test asks, or asks through")


@pytest.fixture(autouse=True)
def _real(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    for marker in request.node.iter_markers("real"):
        record_property("real", marker.args[0])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    asked, failed, skipped = (_programs(terminalreporter, outcome) for outcome in ("passed", "failed", "skipped"))
    terminalreporter.section("other people's programs")
    terminalreporter.line(f"asked, and read as they should be: {', '.join(sorted({*asked} - {*failed})) or 'none'}")
    for name in sorted(failed):
        terminalreporter.line(f"FAILED: {name}")
    for name in sorted({*skipped} - {*asked} - {*failed}):
        terminalreporter.line(f"not asked: {name}, because {skipped[name]}")


def _programs(reporter: pytest.TerminalReporter, outcome: str) -> dict[str, str]:
    """The programs of the tests that ended so, each with the reason if it was skipped."""
    found: dict[str, str] = {}
    reports = [*reporter.getreports(outcome), *(reporter.getreports("error") if outcome == "failed" else ())]
    for report in reports:
        why = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        found |= {str(value): why for name, value in report.user_properties if name == "real"}
    return found
