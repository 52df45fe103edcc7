"""What Locust's web UI accepts, and from whom.

Any page that is open in a browser can send requests to the UI, and Locust takes every option of the process from them.
So the guard refuses requests of other sites' pages, and options that the UI itself does not show. Which hosts the UI
may choose is decided by `Hosts`. Whoever can open the UI can still start and stop load: that is what it is for.
"""

import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import flask
from locust import argument_parser
from locust.env import Environment
from locust.web import WebUI

from streamgauge.harness.errors import StreamgaugeError, TargetError
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.run.hosts import Hosts
from streamgauge.harness.run.terminal import say

# What Locust's own pages send; its /user sets any attribute of a user class.
_START = {"user_count", "spawn_rate", "host", "run_time", "profile", "user_classes", "shape_class"}
_USER = {"user_class_name", "host", "weight", "fixed_count", "tasks"}
_LONGEST = 500  # characters of a reason, which can quote what a request says
_MOST_TOLD = 100  # reasons on the terminal: a page can send requests without end
_log = logging.getLogger("locust.streamgauge")


def guard(environment: Environment, ui: WebUI, hosts: Hosts) -> None:
    """Call it before the UI starts to listen. TargetError if it cannot listen."""
    _check_port(ui)
    if not _log.isEnabledFor(logging.INFO):  # Locust logs the URL at that level
        say(f"streamgauge: Locust's web UI is at {_url(ui)}")
    if not _is_loopback(ui.host) and not ui.web_login:
        say(
            f"streamgauge: Locust's web UI on {_url(ui)} is open to everybody who can reach this machine; "
            "--web-host 127.0.0.1 keeps it to this machine, --web-login asks who it is"
        )
    proxy, tell = _proxy(environment), _teller()

    def refuse() -> flask.Response | None:
        reason = _from_elsewhere(flask.request, ui.host, proxy)
        if reason is not None:
            return flask.Response(f"{tell(reason)}\n", 403, mimetype="text/plain")
        reason = _change(flask.request, environment, hosts)
        if reason is not None:
            return flask.jsonify(success=False, message=tell(reason), host=environment.host)  # as Locust's refusals
        return None

    def unframed(response: flask.Response) -> flask.Response:
        response.headers["X-Frame-Options"] = "SAMEORIGIN"  # no other site's page may have its visitors click on it
        return response

    ui.app.before_request(refuse)
    ui.app.after_request(unframed)


def _teller() -> Callable[[str], str]:
    """A function that says a reason on the terminal, too, and returns it as one line. Each only once, and not many."""
    told: set[str] = set()

    def tell(reason: str) -> str:
        line = shortened(visible(reason), _LONGEST)
        if line not in told and len(told) < _MOST_TOLD:
            told.add(line)
            say(f"streamgauge: web UI: {line}")
        return line

    return tell


def _from_elsewhere(request: flask.Request, bound: str, proxy: str) -> str | None:
    """Why a request is refused that may come from another site's page; None if it cannot come from one.

    A page cannot change the headers Host and Origin of its requests. A page whose name was made to resolve to this
    machine ("DNS rebinding") has its own name in both.
    """
    host = _name_of(f"//{request.host}")
    if _is_loopback(request.remote_addr or "") and not (_is_loopback(host) or host in {bound, _name_of(f"//{proxy}")}):
        return (
            f"refused a request to the host {request.host!r}: on this machine the web UI is called localhost; "
            "if it has another name, start Locust with --web-host-display-name NAME"
        )
    origin = request.headers.get("Origin")
    if origin is None or _site(origin) in {request.host, proxy}:
        return None
    return f"refused a request from a page of {origin!r}, which is another site"


def _change(request: flask.Request, environment: Environment, hosts: Hosts) -> str | None:
    """Why a request to Locust's /swarm or /user is refused; None if it is none, or changes only what it may change."""
    if request.endpoint == "locust.swarm":
        options = vars(environment.parsed_options).keys()
        fixed = request.form.keys() & options - _START - argument_parser.ui_extra_args_dict().keys()
        given = request.form.getlist("host")
    elif request.endpoint == "locust.update_user":
        settings = request.get_json(force=True, silent=True)
        if not isinstance(settings, dict):
            return "write the settings of a user class as a JSON object"
        fixed = settings.keys() - _USER
        given = [settings["host"]] if settings.get("host") else []
    else:
        return None
    if fixed:
        return f"{', '.join(sorted(fixed))}: fixed when the process was started; give it on Locust's command line"
    try:
        for host in filter(None, given):
            hosts.check(str(host))
    except StreamgaugeError as fault:
        return str(fault)
    return None


def _proxy(environment: Environment) -> str:
    """What `--web-host-display-name` names, such as `load.example`: the site of a proxy before the UI."""
    name = environment.parsed_options.web_host_display_name or ""
    return _site(name) if "//" in name else name


def _site(url: str) -> str:
    """Host and port of a URL; `null`, as a browser says it, if it has none."""
    try:
        return urlsplit(url).netloc or "null"
    except ValueError:
        return "null"


def _name_of(url: str) -> str:
    """The host of a URL, without its port; empty if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.removeprefix("::ffff:")).is_loopback  # the prefix of IPv4 on an IPv6 socket
    except ValueError:
        return host == "localhost"


def _url(ui: WebUI) -> str:
    host = f"[{ui.host}]" if ":" in ui.host else ui.host or "*"
    return f"{'https' if ui.tls_cert and ui.tls_key else 'http'}://{host}:{ui.port}"


def _check_port(ui: WebUI) -> None:
    """Locust would print a traceback, and go on without the UI."""
    family = socket.AF_INET6 if ":" in ui.host else socket.AF_INET
    try:
        socket.create_server((ui.host, ui.port), family=family).close()
    except OSError as fault:
        what = "is in use" if fault.errno == errno.EADDRINUSE else f"cannot be used: {fault.strerror or fault}"
        raise TargetError(
            f"the web UI's port {ui.port} on {ui.host or '*'} {what}; choose another with --web-port"
        ) from None
