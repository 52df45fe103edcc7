"""The services that the package apprise knows, more than a hundred. It is in the extra `[alerts]`."""

import logging
from typing import Any

from streamgauge.harness.config.alerts import Apprise
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.monitor.alerts import telling
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt, Failed
from streamgauge.harness.monitor.alerts.receivers.bounded import within

_MISSING = "kind = \"apprise\" needs the package apprise: install it with pip install 'streamgauge[alerts]'"


def check(table: Apprise) -> None:
    """ConfigError if the package is missing, or does not know this URL."""
    _service(table)


def send(table: Apprise, attempt: Attempt) -> None:
    service = _service(table)
    import apprise  # noqa: PLC0415 - an extra

    alert = attempt.alert
    lines = [*telling.lines(alert), *([telling.REPEATED] if attempt.may_be_repeated else [])]
    kind = apprise.NotifyType.SUCCESS if alert.status == "resolved" else apprise.NotifyType.FAILURE
    with apprise.LogCapture(level=logging.WARNING) as said:
        taken = within(
            table.timeout / 1e9,
            f"apprise {table.called}",
            lambda: service.notify(body="\n".join(lines), title=telling.title(alert), notify_type=kind),
        )
        text = said.getvalue()
    if not taken:
        why = shortened(visible(" ".join(text.split())), 200) or "without a reason"
        raise Failed(f"apprise did not deliver it: {why}", may_have_arrived=True)


def _service(table: Apprise) -> Any:
    try:
        import apprise  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(f"[[alert]] {table.called!r}: {_MISSING}") from None
    # No redirects: they would take the alert, and in some services the key, to another host.
    service = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=False))
    with apprise.LogCapture(level=logging.ERROR):  # it would print the URL
        known = service.add(table.url)
    if not known:
        raise ConfigError(
            f"[[alert]] {table.called!r}: apprise knows no service with such a URL; see its documentation"
        )
    return service
