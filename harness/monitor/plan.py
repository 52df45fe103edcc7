"""What a monitor is going to do and to cost, told before it begins. Pure."""

from collections.abc import Iterator, Sequence

from streamgauge.harness.config.schema import Config
from streamgauge.harness.counting import some
from streamgauge.harness.judge.figures import money
from streamgauge.harness.monitor.burn import FEWEST_BAD, HOUR
from streamgauge.harness.monitor.levels import Level
from streamgauge.harness.monitor.watch import span

_ROW = 1_000  # bytes of a probe in the database, about
_OTHER = 60_000_000  # bytes: what is kept of the hours of a year, and the processes' own samples
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
    by_burn = [level for level in levels if level.failures is None]
    if by_burn and every * FEWEST_BAD > HOUR:
        yield (
            f"an hour holds fewer than {FEWEST_BAD} probes, so the fastest alert never fires, and the next one looks "
            f"at six hours; shorten monitor.every, or write failures = {FEWEST_BAD} into the [[slo]]"
        )
    if not config.alert:
        yield "nobody is told of incidents: the config has no [[alert]]; `streamgauge incidents` lists them"


def _cost(config: Config) -> str:
    prices = config.target.prices
    if prices is None:
        return "which cost what [target.prices] would say"
    dearest = max(prices.input, prices.output, prices.cache_write or 0.0)
    return f"which cost at most {money(config.monitor.tokens_per_day * dearest / 1e6, prices.currency)}"


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
