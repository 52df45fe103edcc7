"""`python -m reference_server`: the reference server as a process of its own."""

import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvicorn

from streamgauge.reference_server import delivery, model
from streamgauge.reference_server.app import Settings, create_app
from streamgauge.reference_server.connection import Connection
from streamgauge.reference_server.dealing import Rule, rule
from streamgauge.reference_server.delivery import Manner
from streamgauge.reference_server.faults import FAULTS
from streamgauge.reference_server.sessions import Sessions, Shared
from streamgauge.reference_server.streams import Streams
from streamgauge.reference_server.ticker import event_loop
from streamgauge.reference_server.truth import TruthLog

if TYPE_CHECKING:
    from streamgauge.reference_server.upstream import Upstream

_GOODBYE_SECONDS = 1  # what clients have to read the end that they were told, when the server goes down
_COLLECT_FROM = 5_000  # objects more than at the last collection
_BACKLOG = 4096  # connections that may wait in the kernel
_ACCEPTED_AT_ONCE = 8  # of these, in one turn of the loop; uvicorn's own 2048 would hold up every token meanwhile


def _row(name: str, shape: model.Shape) -> str:
    shortest, longest = shape.tokens
    tokens = f"{shortest}" if shortest == longest else f"{shortest}-{longest}"
    return (
        f"  {name:<8} {shape.ttft / 1e6:>5.0f} ms {shape.prefill / 1e3:>6.0f} us {shape.itl / 1e6:>3.0f} ms"
        f"  {shape.spread:<6.4g}  {shape.pauses:<6.4g}  {tokens:<7}  {shape.capacity or 'any'}"
    )


_NEWLINE = "\n"
_HELP = f"""\
A simulated language model that streams, to aim load tests at.

It speaks Anthropic Messages (/v1/messages), OpenAI chat completions (/v1/chat/completions) and plain server-sent
events (/chat/stream). Every token is due at a moment that does not depend on when the one before it was sent, and with
--truth the server writes down when it really sent each one, so that a client's measurements can be checked.

\b
Presets, in the words of the options:
               ttft   prefill    itl  spread  pauses  tokens   capacity
{_NEWLINE.join(_row(*preset) for preset in model.PRESETS.items())}

A preset is what holds where an option is not given and names no default. A request can shape its own answer: the
options from --ttft to --resumable, all but --capacity, are headers, too, as in x-gauge-ttft: 2s.

When it accepts connections it prints one line with its URL. Ctrl-C or SIGTERM ends it: it takes no more questions, lets
running answers finish, and tells those that do not in time.
"""


class _Setting(click.ParamType[Any]):
    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.read(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)


_SETTINGS = {**model.SETTINGS, **delivery.SETTINGS}


def _setting(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", type=_Setting(name, _SETTINGS[name]), metavar=metavar, help=text)


class _Seconds(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return model.duration(value) / 1e9
        except ValueError as fault:
            self.fail(str(fault), param, ctx)


class _Server(uvicorn.Server):
    """Says where it listens once it does, and by then has put all that start-up made out of the collector's sight.

    When it is told to end it drains first, with its doors open: a refusal is an answer, a closed port is none.
    """

    def __init__(self, config: uvicorn.Config, sessions: Sessions, drain: float) -> None:
        super().__init__(config)
        self._sessions = sessions
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._sessions.streams.drain(self._drain)
        await super().shutdown(sockets)
        if self._sessions.shared is not None:
            await self._sessions.shared.stop()

    async def on_tick(self, counter: int) -> bool:
        if not self._sessions.streams.active and gc.get_count()[0] > _COLLECT_FROM:
            gc.collect()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._sessions.shared is not None:
            await self._sessions.shared.start()
        await super().startup(sockets)
        assert sockets is not None
        sockets[0].listen(_BACKLOG)
        gc.collect()
        gc.freeze()
        # A look through the young objects of a thousand streams holds all of them up, for 10 ms and more. A request
        # makes no circles, so it can wait until nothing is under way: see `on_tick`.
        gc.set_threshold(300_000, 100, 100)
        click.echo(f"streamgauge reference server: {_url(sockets[0], tls=self.config.is_ssl)}")
        sys.stdout.flush()


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), metavar="N", help="0 takes a free port."
)
@click.option(
    "--preset",
    type=click.Choice(list(model.PRESETS)),
    default="haiku",
    show_default=True,
    help="A model to start from.",
)
@_setting("ttft", "DURATION", "Mean time to the first token of an empty prompt, such as 200ms or 1.5s.")
@_setting("prefill", "DURATION", "Mean time that each token of the prompt adds to it, such as 30us.")
@_setting("itl", "DURATION", "Mean gap between two tokens.")
@_setting("spread", "NUMBER", "Coefficient of variation of these, log-normal; 0 makes every wait exactly the mean.")
@_setting("pauses", "SHARE", "How many of the gaps are long pauses, from 0 to 1.")
@_setting("pause", "DURATION", "Mean length of a long pause.")
@_setting("tokens", "N or N-M", "Answer length, or a range to draw it from. A request's max_tokens cuts it.")
@_setting("thinking", "N or N-M", "Tokens of thinking before an answer. 0: some where the request asks for it.")
@_setting("tools", "N", "Turns of a conversation in which the model uses a tool, where the request offers any.")
@_setting("cached", "SHARE", "How much of the prefill of a cached token is saved, from 0 to 1.")
@_setting(
    "capacity", "N", "Answers that are generated at a time; more queue, and all slow down from half of it on. 0: any."
)
@_setting("seed", "N", "Same seed, same prompt: same answer. Same order of requests: same timing.")
@_setting("flush", "UNIT", "Send each token, or gather them to a word or a sentence.  [default: token]")
@_setting("keep-alive", "DURATION", "Send a comment after so long a silence.  [default: 15s]")
@_setting("deadline", "DURATION", "Break an answer off that takes longer; 0s: never.  [default: 10m]")
@_setting("idle", "DURATION", "Cut a client off that reads nothing for so long; 0s: never.  [default: 60s]")
@_setting(
    "resumable",
    "DURATION",
    "Number the events and keep them, so that a client that was dropped gets the rest (Last-Event-ID); generate on for "
    "so long without one, and keep the answer for so long after its end.  [default: 0s, it ends with its client]",
)
@click.option(
    "--redis-url",
    envvar="STREAMGAUGE_REDIS_URL",
    metavar="URL",
    help="Keep resumable answers in this Redis, too, such as redis://127.0.0.1:6379/0: every server that is given it "
    "knows the answers of all, and can resume, show and cancel them.",
)
@click.option(
    "--send-buffer",
    default=65_536,
    show_default=True,
    type=click.IntRange(0, 1 << 24),
    metavar="BYTES",
    help="What the kernel holds for a slow reader before generation pauses. 0: what it likes, up to 4 MB.",
)
@click.option(
    "--max-streams",
    default=5000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="More at a time are refused (503, 529).",
)
@click.option(
    "--api-key",
    envvar="STREAMGAUGE_API_KEY",
    default="",
    metavar="KEY",
    help="Ask every client for this key. Better set as STREAMGAUGE_API_KEY: all users of a machine see options.",
)
@click.option(
    "--upstream",
    type=click.Choice(["anthropic"]),
    help="Let a real model answer, with the key in ANTHROPIC_API_KEY.",
)
@click.option("--upstream-url", metavar="URL", help="Where it is, if not where the SDK looks for it.")
@click.option(
    "--upstream-model",
    default="",
    metavar="NAME",
    help="The model to ask, whatever a question names. Plain SSE and the playground name none and need this.",
)
@click.option(
    "--upstream-silence",
    type=_Seconds(),
    default="60s",
    show_default=True,
    metavar="DURATION",
    help="Give an answer up when nothing has come from upstream for so long.",
)
@click.option(
    "--drain",
    type=_Seconds(),
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="What running answers get to finish in when the server is told to end.",
)
@click.option(
    "--fault",
    "rules",
    type=_Setting("fault", rule),
    multiple=True,
    metavar="FAULT[:WHEN]",
    help="What goes wrong with answers, such as reset:0.01 (one in a hundred), stall:2s@5:every=10 (after 5 tokens of "
    "each tenth) or http_503:10s-20s (in these seconds of the server's life). Can be given several times. A request "
    "asks for its own with the header x-gauge-fault, less the WHEN. docs/reference/faults.md tells what each does: "
    f"{', '.join(FAULTS)}.",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append what was sent and when to this file, one JSON line per stream.",
)
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="Speak HTTPS: the certificate, PEM.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="Its private key, PEM.")
def main(  # noqa: PLR0913, PLR0917 - one parameter for each option; click passes them by name
    host: str,
    port: int,
    preset: str,
    redis_url: str | None,
    send_buffer: int,
    max_streams: int,
    api_key: str,
    upstream: str | None,
    upstream_url: str | None,
    upstream_model: str,
    upstream_silence: float,
    drain: float,
    rules: tuple[Rule, ...],
    truth: Path | None,
    tls_cert: str | None,
    tls_key: str | None,
    **settings: Any,
) -> None:
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together: give both or neither")
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn puts these back when it has shut down, then raises the signal again: both ways end here, with 0.
        signal.signal(number, lambda *_: sys.exit(0))
    given = {name: value for name, value in settings.items() if value is not None}
    shape = replace(model.PRESETS[preset], **{name: given[name] for name in model.SETTINGS if name in given})
    real = _upstream(upstream, upstream_url, upstream_model, upstream_silence, [*given.keys() & model.SETTINGS.keys()])
    manner = Manner(**{name: value for name, value in given.items() if name not in model.SETTINGS})
    try:
        log = TruthLog(truth)
    except OSError as fault:
        raise click.ClickException(f"--truth {truth}: cannot be written: {fault.strerror}") from None
    listener = _listen(host, port, send_buffer)
    if not api_key and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        click.echo(f"streamgauge serve: {host} can be reached from elsewhere, and no --api-key is asked for", err=True)
    if real is not None:
        shape = replace(shape, capacity=0)  # the real one has its own queue
    streams = Streams(shape.capacity, max_streams, log)
    sessions = Sessions(streams)
    if redis_url is not None:
        sessions.shared = _shared(redis_url, sessions)
    config = uvicorn.Config(
        create_app(Settings(shape, manner, rules, api_key, real), sessions),
        loop=f"{event_loop.__module__}:{event_loop.__qualname__}",
        http=partial(Connection, streams.ticker),  # type: ignore[arg-type]  # called as a class is, and no more
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
        backlog=_ACCEPTED_AT_ONCE,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    try:
        config.load()
    except OSError as fault:  # ssl.SSLError is one
        raise click.ClickException(f"--tls-cert, --tls-key: {tls_cert}, {tls_key}: {fault.strerror or fault}") from None
    _Server(config, sessions, drain).run(sockets=[listener])


def _upstream(
    service: str | None, url: str | None, name: str, silence: float, simulated: list[str]
) -> "Upstream | None":
    """What `--upstream` and its kin say; None where they say nothing. UsageError where they make no sense."""
    if service is None:
        if url or name:
            raise click.UsageError("--upstream-url and --upstream-model go with --upstream anthropic")
        return None
    if simulated:
        raise click.UsageError(f"--upstream: a real model answers; leave out --{', --'.join(sorted(simulated))}")
    if url is not None and not url.startswith(("http://", "https://")):
        raise click.UsageError(f"--upstream-url {url}: write it as http://… or https://…")
    key = os.environ.get("ANTHROPIC_API_KEY")
    if not key:
        raise click.UsageError("--upstream anthropic: set ANTHROPIC_API_KEY to the key to ask with")
    from streamgauge.reference_server.upstream import Upstream  # noqa: PLC0415 - the SDK is slow to import, and few servers need it

    return Upstream(key, url, name, silence)


def _listen(host: str, port: int, send_buffer: int) -> socket.socket:
    """A bound socket. ClickException, in one line, when there is no such address or the port is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if send_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)  # what it accepts has it, too
        listener.bind(address)
    except OSError as fault:
        raise click.ClickException(f"cannot listen on {host} port {port}: {fault.strerror}") from None
    return listener


def _shared(url: str, sessions: Sessions) -> Shared:
    """ClickException, in one line, when there is no such Redis, or nothing to reach one with."""
    try:
        from streamgauge.reference_server import sessions_redis  # noqa: PLC0415 - an extra that few servers need
    except ModuleNotFoundError:
        raise click.ClickException("--redis-url needs the redis package: pip install 'streamgauge[redis]'") from None
    try:
        sessions_redis.check(url)
    except ValueError as fault:
        raise click.ClickException(f"--redis-url: {fault}") from None
    return sessions_redis.RedisLogs(url, sessions)


def _url(listener: socket.socket, *, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def run() -> None:
    """`main`, with a user's mistake told in one line and exit code 2."""
    try:
        main.main(prog_name="streamgauge serve", standalone_mode=False)
    except click.ClickException as fault:
        click.echo(f"streamgauge serve: {fault.format_message()}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run()
