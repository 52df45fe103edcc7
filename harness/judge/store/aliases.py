"""What stands for names and values that may not be told: `phase 1` for a label's value, `worker 2`, `redacted`. Pure.

Equal values get equal names, so that figures by label, worker or machine stay what they were.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from streamgauge.harness.config.schema import Sla, Where

HIDDEN = "redacted"
_TELLING = 8  # characters of a host's name that is looked for in other names
_NAMING = re.compile(r"\w[^\w\s]*[.:][^\w\s]*\w")  # as in `a.b`, `[::1]:80` and `http://a`
_PROGRAMS = ("local", "target")  # names that this program gives, in place of a worker's
# Stop reasons of the protocols; any other is a server's own words.
_STOP_REASONS = {
    "abort", "aborted", "cancelled", "completed", "content_filter", "end_turn", "error", "failed", "function_call",
    "incomplete", "length", "max_output_tokens", "max_tokens", "model_context_window_exceeded", "pause_turn", "refusal",
    "safety", "stop", "stop_sequence", "tool-calls", "tool_calls", "tool_use", "other", "unknown",
}  # fmt: skip
# Tables of a config in which a person names everything, the keys too.
_OPEN = {
    "body", "credentials", "defaults", "end", "events", "headers", "message", "metrics", "omit", "query", "request",
    "roles", "tool",
}  # fmt: skip
# Keys whose texts name nothing of a person's: a choice among words of this program, a duration, a version or a hash.
_TOLD = {
    "behaviour", "client", "connect", "content_type", "currency", "e2e", "first_token", "history", "idle", "itl",
    "locust", "longest_stall", "network", "protocol", "python", "reader", "run_time", "scenario", "scenario_file",
    "stamps", "streamgauge", "total", "tpot", "ttft", "warm_up",
}  # fmt: skip


class Aliases:
    """`hosts`: URLs or names of the servers and machines that are told nowhere, also not inside names that stay.

    Short ones without a dot, such as `server` or `vm`, are words that names may have for other reasons. So are marks
    and numbers, such as `.` or `0.5`, which are no names.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        forms = {form for host in hosts for form in _forms(host)}
        self.secrets = {form for form in forms if len(form) >= _TELLING or _names_a_host(form)}
        longest_first = sorted(self.secrets, key=len, reverse=True)
        self._secret = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)
        self._numbers: dict[str, dict[str, int]] = {}  # by kind and value

    def name(self, text: Any) -> Any:
        """A name that stays, without hosts in it."""
        return self._secret.sub(HIDDEN, text) if isinstance(text, str) else None

    def labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        return {self.name(name): self._alias(self.name(name), value) for name, value in sorted(labels.items())}

    def worker(self, name: Any) -> Any:
        return name if name in _PROGRAMS or not isinstance(name, str) else self._alias("worker", name)

    def address(self, text: Any) -> Any:
        return self._alias("address", text) if isinstance(text, str) else None

    def replica(self, text: Any) -> Any:
        return self._alias("replica", text) if isinstance(text, str) else None

    def machine(self, name: str) -> str:
        return self._alias("machine", name)

    def host(self, url: Any) -> Any:
        """Only whether it is HTTPS."""
        return f"{'https' if str(url).lower().startswith('https:') else 'http'}://{HIDDEN}"

    def stop_reason(self, text: Any) -> Any:
        return text if text is None or str(text).lower() in _STOP_REASONS else HIDDEN

    def sla(self, rule: Sla) -> Sla:
        where = rule.where
        kept = {key: None if (value := getattr(where, key)) is None else self.name(value) for key in Where.keys()}  # noqa: SIM118 - a classmethod
        return msgspec.structs.replace(
            rule, where=msgspec.structs.replace(where, **kept, label=self.labels(where.label))
        )

    def _alias(self, kind: str, value: str) -> str:
        numbers = self._numbers.setdefault(kind, {})
        return f"{kind} {numbers.setdefault(value, len(numbers) + 1)}"


def without_names(tree: Mapping[str, Any], aliases: Aliases) -> dict[str, Any]:
    """A config, a fingerprint or facts of an instrument: numbers stay, and the texts that can name nothing."""
    return {aliases.name(key): _value(key, value, aliases) for key, value in tree.items()}


def _value(key: str, value: Any, aliases: Aliases) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if key in _OPEN:
        return HIDDEN
    if isinstance(value, dict):
        return without_names(value, aliases)
    return aliases.name(value) if key in _TOLD and isinstance(value, str) else HIDDEN


def _names_a_host(form: str) -> bool:
    try:
        float(form)
    except ValueError:
        return bool(_NAMING.search(form))
    return False


def _forms(host: str) -> set[str]:
    """A host as people and servers write it: the URL, the part with the port, and the bare name."""
    forms = {host.strip(), host.strip().rstrip("/")}
    try:
        parts = urlsplit(host if "//" in host else f"//{host}")
        forms |= {parts.netloc, parts.netloc.rpartition("@")[2], parts.hostname or ""}
    except ValueError:
        pass
    return {form for form in forms if form}
