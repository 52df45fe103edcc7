"""The config that a team begins with, as a file with comments: what `streamgauge init` writes. Pure."""

from typing import Any

import msgspec

from streamgauge.harness.config.presets import PRESETS
from streamgauge.harness.config.schema import Target
from streamgauge.harness.probe import lines

_PROVED = "proved: this endpoint answered one question completely with it"
_HINTS = """\
# More, to uncomment. docs/reference/configuration.md has every key.
#
# [target.timeouts]                # an answer that takes longer has failed
# first_token = "30s"
# idle = "30s"
# total = "300s"
#
# [reader]                         # how fast people read, for the stalls: 24 characters a second; 55 is one who skims
# characters_per_second = 24
#
# [regression]                     # for `run --gate` and `compare`: what may not get worse from build to build
# metrics = ["p50(ttft)", "p95(ttft)", "p95(itl)"]
# margin = 0.05                    # `streamgauge noise … --budget 5m --write` finds what a pull request has time for
"""


def text(host: str, target: Target, preset: str, *, model: str = "", unproved: str = "") -> str:
    """The file. `host`: the endpoint's URL without secrets. `unproved`: why it is; "" for a target that answered.

    `model`: a comment in place of the model, if nobody named one; "" otherwise.
    """
    found: dict[str, Any] = msgspec.to_builtins(target, enc_hook=str)
    named = {} if model else {"model": target.model}
    written = {"protocol": target.protocol, **named, "max_tokens": target.max_tokens, **found}
    head = (
        f"# Written by `streamgauge init`; {f'NOT proved: {unproved}' if unproved else _PROVED}.\n"
        f"# The endpoint: {host}\n"
        f"# Ask it again: streamgauge try --host {host}\n"
        f"# A run:        {next_command(host)}\n\n"
        "# What is asked, and how. ${NAME} in a header is filled in from the environment, and never stored.\n"
    )
    rules = "".join(f"#   {rule}\n" for rule in PRESETS[preset])
    sla = (
        f"# What must hold for the people who use it. The preset {preset} stands for these rules:\n{rules}"
        f'[[sla]]\npreset = "{preset}"\n\n'
        "# A rule of your own takes the place of the preset's rule of the same figure; docs/reference/presets.md.\n"
        '# [[sla]]\n# rule = "p95(ttft) < 1.5s"\n'
    )
    table = lines.table("target", written).replace("[target]\n", f"[target]\n{model}", 1)
    return "\n".join([head + table, sla, _HINTS])


def next_command(host: str) -> str:
    """A run with enough streams for the rules of the presets, from most servers: 368 for `error_rate < 1%`."""
    return f"streamgauge run chat --host {host} --users 20 --run-time 2m --report report.html"
