"""How an answer is cancelled by its id: the request, and the id that the stream names. Pure.

What a server names as an id becomes a part of a request that has the person's key, so only harmless ids are sent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.lenient import value_in
from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.probe.samples import at

METHODS = ("POST", "DELETE", "PUT", "PATCH")
EXAMPLE = "'POST /v1/answers/{id}/cancel'"
_LONGEST = 1_000  # characters of the request
_PLACE = re.compile(r"\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")
_PATH = re.compile(r"(?:[\w.~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")  # https://www.rfc-editor.org/rfc/rfc3986#section-3
_SAFE = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.:~=-]{0,199}")  # in a path: no slash, no dots that lead upwards
_BACKGROUND = {"background": True, "store": True}


class Way(NamedTuple):
    """A request that cancels an answer. Its path and its body may have places, such as `{id}`."""

    method: str
    path: str  # on the URL's host
    body: str = ""
    asking: Mapping[str, Any] = {}  # what a question needs in its body so that its answer can be cancelled

    @property
    def places(self) -> Sequence[str]:
        return list(dict.fromkeys(_PLACE.findall(f"{self.path} {self.body}")))

    def filled(self, values: Mapping[str, str]) -> tuple[str, bytes]:
        """The path and the body with the values of all places, for which `why_not` says nothing."""
        path = _PLACE.sub(lambda place: values[place[1]], self.path)
        return path, _PLACE.sub(lambda place: values[place[1]], self.body).encode()


def parsed(text: str) -> Way:
    """`METHOD PATH [BODY]`. ValueError, with a sentence for the user, for anything else."""
    method, _, rest = text.strip().partition(" ")
    path, _, body = rest.strip().partition(" ")
    way = Way(method.upper(), path, body.strip())
    if way.method not in METHODS:
        raise ValueError(f"it begins with {line(method, 20)!r}: write {', '.join(METHODS)}, as in {EXAMPLE}")
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"it goes to {line(path, 60)!r}: write a path on the URL's host, as in {EXAMPLE}")
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable():
        raise ValueError(f"it is longer than {_LONGEST:,} characters, or has others than printable ASCII")
    if "${" in text:
        raise ValueError("it has a variable of the environment: the headers of the target are sent, with their keys")
    if odd := _PATH.sub("", _PLACE.sub("", path)):
        raise ValueError(
            f"it has a path with {line(odd, 20)!r}: write a place as {{id}}, and such a character as %23 for #"
        )
    if not way.places:
        raise ValueError(f"it has no place for the answer's id: write its key in the stream's JSON, as in {EXAMPLE}")
    if body and not isinstance(_json(way.filled(dict.fromkeys(way.places, "x"))[1]), dict):
        raise ValueError(f"it has a body that is no JSON object: {line(body, 60)}")
    return way


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None


def known(protocol: str, base: str, path: str, *, reference: bool) -> Way | None:
    """How answers of this protocol, asked for at this path below `base`, are cancelled; None if there is no way.

    Of the protocols, only OpenAI Responses has a cancel, of answers in the background:
    https://platform.openai.com/docs/guides/background. The others' cancel is to leave the stream.
    """
    if protocol == "openai_responses":
        before, mark, query = path.partition("?")
        return Way("POST", f"{base}{before}/{{response.id}}/cancel{mark}{query}", asking=_BACKGROUND)
    if reference:
        place = "request-id" if protocol == "anthropic_messages" else "x-request-id"
        return Way("POST", f"{base}/streams/{{{place}}}/cancel")
    return None


def named(way: Way, events: Sequence[Event], headers: Mapping[str, str]) -> dict[str, str]:
    """What the stream names for each place so far: in the JSON of an event, or else in a header of the answer."""
    tables = [value_in(event.data) for event in events if not event.comment]
    found: dict[str, str] = {}
    for place in way.places:
        values = (*(at(table, place) for table in tables), headers.get(place.lower()))
        value = next(_texts(values), None)
        if value is not None:
            found[place] = value
    return found


def _texts(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if type(value) is int or (isinstance(value, str) and value):
            yield str(value)


def why_not(way: Way, values: Mapping[str, str]) -> str:
    """Why these values cannot be sent, with what to do; "": they can."""
    for place in way.places:
        if place not in values:
            return (
                f"the stream had no `{place}` in its first chunks, neither in the JSON of an event nor as a header: "
                f"--cancel names the place of the id, as in {EXAMPLE}"
            )
        if not _SAFE.fullmatch(values[place]):
            return (
                f"the stream's `{place}` is {line(values[place], 40)!r}, which is not safe to send: an id has at most "
                "200 letters, digits and . _ : ~ = -, and no two dots in a row"
            )
    return ""
