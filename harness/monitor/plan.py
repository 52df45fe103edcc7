"""What a monitor is going to do and to cost, told before it begins. Pure."""

from collections.abc import Iterator, Sequence

from streamgauge.harness.config.schema import Config
from streamgauge.harness.counting import some
from streamgauge.harness.judge.figures import money
from streamgauge.harness.monitor.burn import FEWEST_BAD, HOUR, PACES
from streamgauge.harness.monitor.levels import Level
from streamgauge.harness.monitor.watch import span

_ROW = 1_000  # bytes of a probe in the database, about
_OTHER = 60_000_000  # bytes: what is kept of the hours of a year, and the processes' own samples
_JITTER = 0.2  # of `every`: so much closer may any two probes be
_PROCESS = 110_000_000  # bytes of memory: a prober or the judge


def lines(config: Config, levels: Sequence[Level]) -> Iterator[str]:
    monitor = config.monitor
    every, targets = monitor.every / 1e9, len(monitor.target)
    yield (
        f"{some(targets, 'target')}, each asked every {span(every)} ± 20 %, with scenario {monitor.scenario}; "
        f"together at most {monitor.tokens_per_day:,} tokens a day, {_cost(config)}"
    )
    kept = monitor.keep_raw / 1e9 / every * targets * _ROW + _OTHER * targets
    yield (
        f"single streams are kept for {span(monitor.keep_raw / 1e9)}: at most about {_size(kept)} of disk, "
        f"and {_size(_PROCESS * (targets + 1))} of memory"
    )
    names = ", ".join(f"{level.name} ({level.good.text}, {100 * level.objective:.7g} %)" for level in levels)
    yield f"service levels: {names}" + ("" if config.slo else "; these are the defaults, as the config has no [[slo]]")
    timeout = config.target.timeouts.total / 1e9
    yield from _too_rare(every, timeout, [level for level in levels if level.failures is None])
    if not config.alert:
        yield "nobody is told of incidents: the config has no [[alert]]; `streamgauge incidents` lists them"


def _too_rare(every: float, timeout: float, by_burn: Sequence[Level]) -> Iterator[str]:
    """Which pages can fire only after a visit with several bad probes, since their windows hold too few visits."""
    # Seconds from the first to the last bad probe of visits that ask once, at least. A probe counts when it ends: the
    # first may time out, and the last be refused at once.
    apart = (FEWEST_BAD - 1 - _JITTER) * every - timeout
    instead = f"shorten monitor.every, or write failures = {FEWEST_BAD} into the [[slo]]"
    pages = [pace.long for pace in PACES if pace.severity == "page"]
    silent = [level for level in by_burn if all(apart >= long for long in pages if long <= level.window)]
    if silent:
        yield (
            f"no window of a page holds {FEWEST_BAD} visits, so a page needs several bad probes in one visit for "
            f"{_names(silent)}; {instead}"
        )
    slower = [level for level in by_burn if level not in silent]
    if slower and apart >= HOUR:
        yield (
            f"an hour holds fewer than {FEWEST_BAD} visits, so the fastest alert needs several bad probes in one visit "
            f"for {_names(slower)}, and the next one looks at six hours; {instead}"
        )


def _names(levels: Sequence[Level]) -> str:
    return ", ".join(level.name for level in levels)


def _cost(config: Config) -> str:
    prices = config.target.prices
    if prices is None:
        return "which cost what [target.prices] would say"
    dearest = max(prices.input, prices.output, prices.cache_write or 0.0)
    return f"which cost at most {money(config.monitor.tokens_per_day * dearest / 1e6, prices.currency)}"


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
