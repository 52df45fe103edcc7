"""`streamgauge init`: a first config, from three answers and one real question to the endpoint."""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.overrides import changed
from streamgauge.harness.config.presets import PRESETS
from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.exit_codes import STOPPED, Exit
from streamgauge.harness.judge.outputs import lines as output
from streamgauge.harness.judge.outputs.rich_text import console_of
from streamgauge.harness.near_miss import listed
from streamgauge.harness.probe import first_config, keys, saving, screen
from streamgauge.harness.probe.complete import model_comment
from streamgauge.harness.probe.recognising import PROTOCOLS, at_no_usual_path, nearness, recognised
from streamgauge.harness.probe.trying import Result
from streamgauge.harness.record.observation import Outcome

_FILE = Path("streamgauge.toml")
_PROTOCOLS = tuple(name for name in get_args(ProtocolName) if name != "custom")  # `custom` needs a table of its own
# All presets are taken; those of a model are too many to ask about.
_RULES = f"Rules ({', '.join(name for name in PRESETS if ':' not in name)})"


class _Given(NamedTuple):
    """How the endpoint is to be asked."""

    host: str
    protocol: ProtocolName | None  # None: to be recognised
    model: str | None
    path: str | None
    headers: tuple[str, ...]
    key: str | None  # the variable that holds it

    def target(self, protocol: Any) -> Target:
        own = () if self.key is None else (_key_header(protocol, self.key),)
        return changed(Target(), protocol=protocol, model=self.model, path=self.path, headers=(*own, *self.headers))


@click.command(name="init")
@click.option("--host", metavar="URL", help="The endpoint's URL, such as https://staging.example.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), help="What the endpoint speaks.  [default: recognised]")
@click.option("--model", metavar="NAME", help="The model, as the endpoint calls it.")
@click.option("--path", metavar="PATH", help="Where to ask, if not at the protocol's usual path.")
@click.option("--key", metavar="VARIABLE", help="The environment's variable with the key; the file has ${VARIABLE}.")
@click.option(
    "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="Sent with every request. Can be repeated."
)
@click.option("--preset", metavar="NAME", help="The rules: chat, voice, agent, …; docs/reference/presets.md lists all.")
@click.option("--force", is_flag=True, help="Replace ./streamgauge.toml.")
@click.option("--unproved", is_flag=True, help="Write it although the endpoint did not answer; needs --protocol.")
@click.pass_context
def command(
    ctx: click.Context, /, *, host: str | None, model: str | None, preset: str | None, force: bool, **options: Any
) -> None:
    """Write a first streamgauge.toml.

    Asks for what no option says: the endpoint's URL, the model, and the preset of rules. Then it puts one question to
    the endpoint, as `streamgauge try` does, recognises the protocol, and writes ./streamgauge.toml only if the answer
    was complete.

    Exit codes: 0 the file is written, 1 the answer was not complete, 2 a mistake in the call, 3 this machine could
    not ask.
    """
    saving.check(_FILE, force=force)
    unproved: bool = options.pop("unproved")
    asks = sys.stdin is not None and sys.stdin.isatty()  # None: closed by whoever started the command
    if not asks and (host is None or preset is None):
        raise ConfigError(
            "init asks questions, and there is no terminal: give --host URL and --preset NAME, and if the endpoint "
            "needs them --model NAME, --key VARIABLE and --protocol NAME"
        )
    if unproved and options["protocol"] is None:
        raise click.UsageError("--unproved needs --protocol: without an answer nothing tells it")
    preset = None if preset is None else _preset(preset)
    host = host or click.prompt("URL of the endpoint")
    if asks and model is None:
        asked = "Model, as the endpoint calls it; nothing if it needs no name"
        model = click.prompt(asked, default="", show_default=False) or None
    preset = preset or click.prompt(_RULES, default="chat", value_proc=_preset_of_prompt)
    given = _Given(host=host, model=model, **options)
    try:
        result = _asked(given, asks=asks)
    except KeyboardInterrupt:
        ctx.exit(STOPPED)
    if result.working is None:
        screen.show(result, console_of(None), every=False)
    if result.working is None and not unproved:
        output.warn(
            f"{_FILE}: not written, because no answer was complete; --unproved with --protocol writes it anyway"
        )
        ctx.exit(_exit_code(result))
    _write(result, preset, force=force)


def _preset(name: str) -> str:
    if name not in PRESETS:
        raise ConfigError(f"--preset: no preset called {name!r}; there are {listed(name, PRESETS)}")
    return name


def _preset_of_prompt(name: str) -> str:
    try:
        return _preset(name)
    except ConfigError as fault:
        raise click.BadParameter(str(fault).removeprefix("--preset: ")) from None


def _key_header(protocol: str, variable: str) -> str:
    """ConfigError without such a variable; the message does not quote it, as it may be the key itself."""
    if variable not in os.environ:
        raise ConfigError(
            "--key takes the name of a variable of the environment, and there is none of the name given: export it "
            "first"
        )
    return keys.header_of(protocol, variable)


def _asked(given: _Given, *, asks: bool) -> Result:
    """Ask the endpoint; then the person for what could not be recognised, and the endpoint once more."""
    result = _recognised(given)
    statuses = {made.probe.status for made in (result.first, *result.again)}
    if result.working is not None or not asks or _stopped(result):
        return result
    if statuses & {401, 403} and given.key is None and not given.headers:
        return _recognised(
            given._replace(key=click.prompt("It wants a key. Variable of the environment that holds the key"))
        )
    if _at_no_usual_path(given, result):
        screen.show(result, console_of(None), every=False)
        return _recognised(given._replace(path=click.prompt("Path of the endpoint, such as /chat/stream")))
    if statuses != {None} and given.protocol is None:
        screen.show(result, console_of(None), every=False)
        chosen = click.prompt("Its protocol was not recognised", type=click.Choice(_PROTOCOLS))
        return _recognised(given._replace(protocol=chosen))
    return result


def _recognised(given: _Given) -> Result:
    """What came of asking in the protocol that was named, or else in each until one gets an answer."""
    targets = [given.target(protocol) for protocol in ((given.protocol,) if given.protocol else PROTOCOLS)]
    for target in targets:
        saving.with_variables(target)  # before anything is sent
    result = recognised(given.host, targets)
    return at_no_usual_path(result) if _at_no_usual_path(given, result) else result


def _at_no_usual_path(given: _Given, result: Result) -> bool:
    return given.protocol is None and given.path is None and not nearness(result.first)


def _stopped(result: Result) -> bool:
    return any(made.probe.stopped for made in (result.first, *result.again))


def _write(result: Result, preset: str, *, force: bool) -> None:
    working = result.working
    probe = (working or result.first).probe
    endpoint = probe.site.endpoint
    host = f"{endpoint.origin}{endpoint.base}"
    unproved = "" if working else f"the endpoint gave no complete answer ({probe.seen.outcome})"
    target = saving.with_variables(probe.target)
    text = first_config.text(host, target, preset, model=model_comment(probe), unproved=unproved)
    parse(text.encode(), str(_FILE))
    saving.write(_FILE, text.encode(), new=not force)
    if working is not None:
        first = probe.ms(probe.seen.first_content_at)
        output.show(
            f"{probe.url} answered one question completely, read as {target.protocol}"
            + ("" if first is None else f"; the first content came after {first:,.0f} ms")
        )
    output.show(f"{_FILE}: written, {'NOT proved, ' if unproved else ''}with the rules of the preset {preset}")
    output.show(f"next: {first_config.next_command(host)}")


def _exit_code(result: Result) -> int:
    if _stopped(result):
        return STOPPED
    return Exit.INCONCLUSIVE if result.first.probe.seen.outcome is Outcome.INTERRUPTED else Exit.MISSED
