"""The command line of `streamgauge serve`: options → `Settings`."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from streamgauge.reference_server import parsing
from streamgauge.reference_server.delivery.settings import DELIVERY_SETTINGS, DeliverySettings
from streamgauge.reference_server.faults.catalogue import FAULTS
from streamgauge.reference_server.faults.rules import parse_rule
from streamgauge.reference_server.model.settings import MODEL_SETTINGS, PRESETS, ModelSettings
from streamgauge.reference_server.settings import Settings, UpstreamSettings


def _row(name: str, preset: ModelSettings) -> str:
    shortest, longest = preset.tokens
    tokens = f"{shortest}" if shortest == longest else f"{shortest}-{longest}"
    return (
        f"  {name:<8} {preset.ttft / 1e6:>5.0f} ms {preset.prefill / 1e3:>6.0f} us {preset.itl / 1e6:>3.0f} ms"
        f"  {preset.spread:<6.4g}  {preset.pauses:<6.4g}  {tokens:<7}  {preset.capacity or 'any'}"
    )


_NEWLINE = "\n"
_HELP = f"""\
A simulated language model that streams, as a target for load tests.

It speaks Anthropic Messages (/v1/messages), OpenAI chat completions (/v1/chat/completions), OpenAI Responses
(/v1/responses), Gemini (/v1beta), Ollama and the AI SDK (/api/chat), AG-UI (/agent) and plain server-sent events
(/chat/stream). When a token is due does not depend on when the one before it was sent. With --truth the server writes
down when it really sent each token, so that a client's measurements can be checked.

\b
Presets, by the names of the options:
               ttft   prefill    itl  spread  pauses  tokens   capacity
{_NEWLINE.join(_row(*preset) for preset in PRESETS.items())}

The preset applies where an option is not given and shows no default. A request can change its own answer: the options
from --ttft to --resumable, except --capacity, are also request headers, as in x-gauge-ttft: 2s.

When the server accepts connections it prints one line with its URL. Ctrl-C or SIGTERM ends it: it refuses new
questions, lets running answers finish, and ends those that take too long with an error event.
"""


class _Parsed(click.ParamType[Any]):
    """An option whose text `parse` turns into a value, or into a ValueError with a sentence for the user."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)


_PARSERS = {**MODEL_SETTINGS, **DELIVERY_SETTINGS}
_SECONDS = _Parsed("duration", lambda text: parsing.duration(text) / 1e9)


def _setting(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", type=_Parsed(name, _PARSERS[name]), metavar=metavar, help=text)


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), metavar="N", help="0: any free port."
)
@click.option(
    "--share-port",
    is_flag=True,
    help="Let other servers that were started with this option listen on the same port: the kernel divides the "
    "connections among them.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name under which clients reach a server that listens on loopback, such as a proxy's. Can be given "
    "several times.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="haiku",
    show_default=True,
    help="The model to start from.",
)
@_setting("ttft", "DURATION", "Mean time to the first token of an empty prompt, such as 200ms or 1.5s.")
@_setting("prefill", "DURATION", "Mean time that each token of the prompt adds to it, such as 30us.")
@_setting("itl", "DURATION", "Mean gap between two tokens.")
@_setting(
    "spread", "NUMBER", "Coefficient of variation of these times, log-normal; 0 makes every wait exactly the mean."
)
@_setting("pauses", "SHARE", "Share of the gaps that are long pauses, from 0 to 1.")
@_setting("pause", "DURATION", "Mean length of a long pause.")
@_setting("tokens", "N or N-M", "Answer length, or a range to draw it from. A request's max_tokens cuts it.")
@_setting("thinking", "N or N-M", "Thinking tokens before an answer. 0: some if the request asks for thinking.")
@_setting("tools", "N", "Turns of a conversation in which the model uses a tool, if the request offers any.")
@_setting("cached", "SHARE", "Share of the prefill time that a cached token saves, from 0 to 1.")
@_setting(
    "capacity",
    "N",
    "Answers generated at a time; others wait in a queue, and above half of N all slow down. 0: no limit.",
)
@_setting("seed", "N", "Same seed, same prompt: same answer. Same order of requests: same timing.")
@_setting("flush", "UNIT", "Send each token, or gather tokens to a word or a sentence.  [default: token]")
@_setting("keep-alive", "DURATION", "Send a comment after a silence of this length.  [default: 15s]")
@_setting("deadline", "DURATION", "End an answer that takes longer with an error; 0s: never.  [default: 10m]")
@_setting("idle", "DURATION", "Cut off a client that reads nothing for this long; 0s: never.  [default: 60s]")
@_setting(
    "resumable",
    "DURATION",
    "Number the events and keep them, so that a dropped client can get the rest (Last-Event-ID). DURATION is how long "
    "the generation continues without a client, and how long the answer is kept after its end.  [default: 0s, an "
    "answer ends with its client]",
)
@click.option(
    "--redis-url",
    envvar="STREAMGAUGE_REDIS_URL",
    metavar="URL",
    help="Keep resumable answers also in this Redis, such as redis://127.0.0.1:6379/0. All servers that share it can "
    "resume, show and cancel each other's answers.",
)
@click.option(
    "--send-buffer",
    default=65_536,
    show_default=True,
    type=click.IntRange(0, 1 << 24),
    metavar="BYTES",
    help="What the kernel holds for a slow client before generation pauses. 0: the kernel's default, up to 4 MB.",
)
@click.option(
    "--max-streams",
    default=5000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Answers at a time; more are refused (503, 529).",
)
@click.option(
    "--max-tokens",
    default=5_000_000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Tokens that all answers at a time may have; more are refused. A token takes about 24 bytes of memory.",
)
@click.option(
    "--api-key",
    envvar="STREAMGAUGE_API_KEY",
    default="",
    metavar="KEY",
    help="Require this key from every client. STREAMGAUGE_API_KEY is safer: all users of a machine can see options.",
)
@click.option(
    "--upstream",
    type=click.Choice(["anthropic"]),
    help="Let a real model answer, with the key in ANTHROPIC_API_KEY.",
)
@click.option("--upstream-url", metavar="URL", help="Its address, if not the SDK's default.")
@click.option(
    "--upstream-model",
    default="",
    metavar="NAME",
    help="The model to ask, whichever a question names. Plain SSE and the playground name none and need this option.",
)
@click.option(
    "--upstream-silence",
    type=_SECONDS,
    default="60s",
    show_default=True,
    metavar="DURATION",
    help="Give up an answer when nothing has come from upstream for this long.",
)
@click.option(
    "--drain",
    type=_SECONDS,
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="How long running answers may take to finish after the server was told to end.",
)
@click.option(
    "--fault",
    "faults",
    type=_Parsed("fault", parse_rule),
    multiple=True,
    metavar="FAULT[:WHEN]",
    help="A fault and which answers get it, such as reset:0.01 (one in a hundred), stall:2s@5:every=10 (after 5 tokens "
    "of every tenth answer) or http_503:10s-20s (in these seconds after the server's start). Can be given several "
    "times. A request asks for its own faults with the header x-gauge-fault, without WHEN. "
    f"docs/reference/faults.md says what each does: {', '.join(FAULTS)}.",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append to this file what was sent and when, one JSON line per stream.",
)
@click.option(
    "--tls-cert", type=click.Path(exists=True, dir_okay=False), help="Serve HTTPS with this certificate (PEM)."
)
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="The certificate's private key (PEM).")
def parse(*, preset: str, faults: tuple[Any, ...], **options: Any) -> Settings:
    if (options["tls_cert"] is None) != (options["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key go together: give both or neither")
    model = _given(MODEL_SETTINGS, options)
    upstream = _upstream(options, sorted(model))
    if upstream is not None:
        model["capacity"] = 0  # the real model has its own queue
    return Settings(
        model=replace(PRESETS[preset], **model),
        delivery=DeliverySettings(**_given(DELIVERY_SETTINGS, options)),
        faults=faults,
        upstream=upstream,
        **{name: options[name] for name in _PASSED_ON},
    )


_PASSED_ON = (
    "host", "port", "share_port", "allowed_hosts", "send_buffer", "max_streams", "max_tokens", "drain", "api_key",
    "truth", "tls_cert", "tls_key", "redis_url",
)  # fmt: skip


def _given(settings: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Those of these settings that the command line has, by the names of their fields."""
    fields = (name.replace("-", "_") for name in settings)
    return {name: options[name] for name in fields if options[name] is not None}


def _upstream(options: dict[str, Any], simulated: list[str]) -> UpstreamSettings | None:
    """None without --upstream. `simulated`: settings of the simulated model that the command line has."""
    url, model = options["upstream_url"], options["upstream_model"]
    if options["upstream"] is None:
        if url or model:
            raise click.UsageError("--upstream-url and --upstream-model go with --upstream anthropic")
        return None
    if simulated:
        raise click.UsageError(f"--upstream: a real model answers; leave out --{', --'.join(simulated)}")
    if url is not None and not url.startswith(("http://", "https://")):
        raise click.UsageError(f"--upstream-url {url}: write it as http://… or https://…")
    key = os.environ.get("ANTHROPIC_API_KEY")
    if not key:
        raise click.UsageError("--upstream anthropic: set ANTHROPIC_API_KEY to the key of the upstream")
    return UpstreamSettings(key, url, model, options["upstream_silence"])
