"""The service levels of a config, parsed once: whose probes each is about, and what makes it alert. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from streamgauge.harness.config import monitor_checks
from streamgauge.harness.config.monitor_checks import REGION, TARGET
from streamgauge.harness.config.schema import Config, MonitorTarget, Slo, Where
from streamgauge.harness.config.share import Share
from streamgauge.harness.errors import ConfigError, RuleError
from streamgauge.harness.monitor import good
from streamgauge.harness.monitor.good import Good

# What is watched if the config has no [[slo]]: the thresholds that teams start from.
DEFAULTS = (
    Slo(name="first token", good="ttft < 2s", objective=Share.parse("95%")),
    Slo(name="errors", good="not failed", objective=Share.parse("99%")),
    Slo(name="completion", good="completed", objective=Share.parse("99%")),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Targets that alert together: one target, or all targets of an SLO with `regions`."""

    name: str
    regions: Mapping[str, tuple[str, ...]]  # by region, the names of its targets; by its name for a single target
    needed: int = 1  # how many regions must be bad


@dataclass(frozen=True, slots=True)
class Level:
    """One [[slo]]."""

    name: str
    good: Good
    objective: float
    window: int  # seconds
    where: Where  # of the streams: what it says of the targets is in `targets`
    targets: tuple[str, ...]
    groups: tuple[Group, ...]
    failures: int | None  # None: by burn rates
    successes: int

    @property
    def definition(self) -> str:
        """What the counts of this level are counts of: with another `good` or `where`, they begin anew."""
        chosen = json.dumps(sorted(self.where.selected().items()))
        return sha256(f"{self.good.text}\n{chosen}".encode()).hexdigest()[:16]


def levels(config: Config) -> list[Level]:
    """ConfigError or RuleError for an [[slo]] that cannot be."""
    targets = config.monitor.target
    if not targets:
        raise ConfigError("there is nothing to probe: write at least one [[monitor.target]] with a name and a host")
    return [_level(slo, targets) for slo in config.slo or DEFAULTS]


def _level(slo: Slo, targets: list[MonitorTarget]) -> Level:
    try:
        parsed = good.parse(slo.good)
    except RuleError as fault:
        raise RuleError(f"[[slo]] {slo.name!r}: {fault}") from None
    of_targets = {TARGET, *(label for target in targets for label in target.labels)}
    own = {label: value for label, value in slo.where.label.items() if label in of_targets}
    chosen = [each for each in targets if all(labels_of(each).get(label) == value for label, value in own.items())]
    if not chosen:
        raise ConfigError(f"[[slo]] {slo.name!r}: no target has all the labels of its `where`")
    rest = {label: value for label, value in slo.where.label.items() if label not in own}
    return Level(
        name=slo.name,
        good=parsed,
        objective=float(slo.objective),
        window=int(slo.window / 1e9),
        where=_with_labels(slo.where, rest),
        targets=tuple(each.name for each in chosen),
        groups=tuple(_groups(slo, chosen)),
        failures=slo.failures,
        successes=slo.successes,
    )


def labels_of(target: MonitorTarget) -> dict[str, str]:
    return {**target.labels, TARGET: target.name}


def _with_labels(where: Where, labels: dict[str, str]) -> Where:
    return Where(**{name: getattr(where, name) for name in Where.keys()}, label=labels)  # noqa: SIM118 - a classmethod


def _groups(slo: Slo, targets: list[MonitorTarget]) -> list[Group]:
    found = None if slo.regions is None else monitor_checks.regions(slo.regions)
    if found is None:
        return [Group(target.name, {target.name: (target.name,)}) for target in targets]
    regions: dict[str, tuple[str, ...]] = {}
    for target in targets:
        region = target.labels[REGION]
        regions[region] = (*regions.get(region, ()), target.name)
    if found[0] > len(regions):
        raise ConfigError(
            f"[[slo]] {slo.name!r}: {slo.regions!r}, but its `where` leaves {len(regions)} of the regions"
        )
    return [Group("regions", regions, found[0])]
