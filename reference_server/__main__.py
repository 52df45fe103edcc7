"""`python -m reference_server`: the reference server as a process of its own."""

import gc
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import uvicorn

from reference_server import model
from reference_server.app import Settings, create_app
from reference_server.delivery import event_loop
from reference_server.truth import TruthLog

_STOP_SECONDS = 1  # what a running stream gets to finish in when the server is told to end


def _row(name: str, shape: model.Shape) -> str:
    shortest, longest = shape.tokens
    tokens = f"{shortest}" if shortest == longest else f"{shortest}-{longest}"
    return f"  {name:<9} {shape.ttft / 1e6:5.0f} ms  {shape.itl / 1e6:3.0f} ms  {shape.spread:4.2f}  {tokens}"


_NEWLINE = "\n"
_HELP = f"""\
A simulated language model that streams, to aim load tests at.

It speaks Anthropic Messages (/v1/messages), OpenAI chat completions (/v1/chat/completions) and plain server-sent
events (/chat/stream). Every token is due at a moment that is fixed when the request arrives, and with --truth the
server writes down when it really sent each one, so that a client's measurements can be checked.

\b
Presets (mean time to the first token, mean gap, spread, tokens):
{_NEWLINE.join(_row(*preset) for preset in model.PRESETS.items())}

A request can shape its own answer with headers named like the options: x-gauge-ttft, x-gauge-itl, x-gauge-spread,
x-gauge-tokens, x-gauge-seed.

When it accepts connections it prints one line with its URL. Ctrl-C or SIGTERM ends it; running streams get
{_STOP_SECONDS} s to finish.
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


def _setting(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", type=_Setting(name, model.SETTINGS[name]), metavar=metavar, help=text)


class _Server(uvicorn.Server):
    """Says where it listens once it does, and by then has put all that start-up made out of the collector's sight."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)  # a full collection in the middle of a thousand streams is a stall for each
        click.echo(f"streamgauge reference server: {_url(sockets[0], tls=self.config.is_ssl)}")
        sys.stdout.flush()


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option(
    "--preset",
    type=click.Choice(list(model.PRESETS)),
    default="haiku",
    show_default=True,
    help="A model to start from.",
)
@_setting("ttft", "DURATION", "Mean time to the first token, such as 200ms or 1.5s.")
@_setting("itl", "DURATION", "Mean gap between two tokens.")
@_setting("spread", "NUMBER", "Coefficient of variation of both, log-normal; 0 makes every wait exactly the mean.")
@_setting("tokens", "N or N-M", "Answer length, or a range to draw it from. A request's max_tokens cuts it.")
@_setting("seed", "NUMBER", "Same seed, same prompt: same answer. Same order of requests: same timing.")
@click.option(
    "--max-streams",
    default=5000,
    show_default=True,
    type=click.IntRange(1),
    help="More at a time are refused (503, 529).",
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
    max_streams: int,
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
    shape = model.overridden(
        model.PRESETS[preset], {name: value for name, value in settings.items() if value is not None}
    )
    try:
        log = TruthLog(truth)
    except OSError as fault:
        raise click.ClickException(f"--truth {truth}: cannot be written: {fault.strerror}") from None
    listener = _listen(host, port)
    config = uvicorn.Config(
        create_app(Settings(shape, max_streams, log)),
        loop=f"{event_loop.__module__}:{event_loop.__qualname__}",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    try:
        config.load()
    except OSError as fault:  # ssl.SSLError is one
        raise click.ClickException(f"--tls-cert, --tls-key: {tls_cert}, {tls_key}: {fault.strerror or fault}") from None
    _Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. ClickException, in one line, when there is no such address or the port is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as fault:
        raise click.ClickException(f"cannot listen on {host} port {port}: {fault.strerror}") from None
    return listener


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
