"""What a server's words say about the request's body: keys that it does not take, lacks, or wants otherwise. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from streamgauge.harness.drive.protocols.lenient import dict_at
from streamgauge.harness.drive.protocols.protocol import line, table_in
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe

_UNKNOWN = re.compile(
    r"unsupported|not supported|unknown|unrecognized|unrecognised|not permitted|not allowed|extra|unexpected"
    r"|does not support|doesn't support|forbidden|not a valid|invalid argument|no such|unavailable|only the default",
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"not[ _]found|does not exist|doesn't exist|unknown|invalid|no such|not available|unsupported", re.IGNORECASE
)
_TOO_MANY = re.compile(r"maximum|at most|too (?:large|high|big|many)|exceed|less than|<=", re.IGNORECASE)
_MISSING = (
    re.compile(r"(?:missing|required)[\w :]{0,40}['\"`]([A-Za-z_]\w{0,40})['\"`]", re.IGNORECASE),
    re.compile(
        r"['\"`]?(?<![\w-])([A-Za-z_]\w{0,40})['\"`]?(?:: field required| is (?:a )?required| is missing)",
        re.IGNORECASE,
    ),
)
_NEEDED = {"messages", "model", "stream"}  # keys that are never left out
_WORDS_OF_SENTENCES = {
    "it",
    "key",
    "field",
    "parameter",
    "which",
    "header",
    "property",
    "authentication",
    "authorization",
    "body",
}
# What a key of somebody's request probably wants: a place of `config.template`.
_WANTED = {
    "{prompt}": (
        "question",
        "query",
        "prompt",
        "message",
        "text",
        "inputs",
        "input_text",
        "user_input",
        "q",
        "content",
    ),
    "{messages}": ("messages", "history", "input", "chat_history"),
    "{conversation}": ("session", "session_id", "conversation", "conversation_id", "thread_id", "chat_id", "sessionId"),
    "{user}": ("user", "user_id", "userId"),
    "{model}": ("model", "model_name", "model_id"),
    "{max_tokens}": ("max_tokens", "max_new_tokens", "max_output_tokens"),
    "{stream}": ("stream", "streaming"),
}


def of_words(probe: Probe) -> Iterator[Advice]:
    """What would help, the most likely first."""
    if probe.site.request_format.content_type is None:
        return
    body = probe.site.request_format.json(probe.prompt)
    for told in (_renamed, _model, _too_many_tokens, _version, _lacking, _refused):
        found = told(probe, body)
        if found is not None:
            yield found
            return


def _renamed(probe: Probe, body: Mapping[str, Any]) -> Advice | None:
    if "max_completion_tokens" not in probe.words or "max_tokens" not in body:
        return None
    instead = {"max_completion_tokens": probe.target.max_tokens}
    return Advice(
        "This model takes max_completion_tokens in place of max_tokens.", _omitting(probe, "max_tokens", instead)
    )


def _model(probe: Probe, body: Mapping[str, Any]) -> Advice | None:
    """The complaint about the model's name, as opposed to one about a parameter that "this model" does not take."""
    name = re.escape(probe.target.model)
    about = rf"model[ `'\":=]*{name}|{name}['`\" ]* (?:not|does)|model_not_found"
    if not (_ABSENT.search(probe.words) and re.search(about, probe.words, re.IGNORECASE)):
        return None
    endpoint = probe.site.endpoint
    where = f"; {endpoint.origin}{endpoint.base}/v1/models lists them" if probe.protocol.name == "openai_chat" else ""
    asked = line(str(body.get("model")), 60)
    return Advice(
        f'The server does not know the model "{asked}". Write the name by which it knows it{where}.',
        lines.target(model="…"),
        likely=False,
    )


def _too_many_tokens(probe: Probe, body: Mapping[str, Any]) -> Advice | None:
    sent = body.get("max_tokens")
    if not isinstance(sent, int) or "max_tokens" not in probe.words or not _TOO_MANY.search(probe.words):
        return None
    allowed = [int(digits) for digits in re.findall(r"\b\d{1,9}\b", probe.words) if 0 < int(digits) < sent]
    if not allowed:
        return None
    return Advice("The server allows fewer tokens in an answer.", lines.target(max_tokens=max(allowed)))


def _version(probe: Probe, _: Mapping[str, Any]) -> Advice | None:
    if "anthropic-version" not in probe.words or probe.protocol.name == "anthropic_messages":
        return None
    return Advice("The server speaks Anthropic Messages.", lines.target(protocol="anthropic_messages"))


def _lacking(probe: Probe, body: Mapping[str, Any]) -> Advice | None:
    missing = [name for name in dict.fromkeys(_missing(probe)) if name not in body]
    if not missing:
        return None
    omitted = [name for name in missing if name in probe.target.omit]
    if omitted:
        return Advice(f"The request lacks {_and(omitted)}, which the config takes out of it: correct `omit`.")
    wanted = {name: place for name in missing for place, names in _WANTED.items() if name in names}
    if len(wanted) == len(missing) and probe.target.request is None:
        whole = {**wanted, "model": "{model}", "stream": "{stream}"}
        return Advice(
            f"The request lacks {_and(missing)}. Write it as the server wants it; a guess:",
            lines.target(request={"body": whole}),
        )
    return Advice(
        f"The request lacks {_and(missing)}. Add that to the body, or write the whole body as [target.request.body]: "
        "see docs/reference/requests.md.",
        lines.target(body=dict.fromkeys(missing, "…")),
        likely=False,
    )


def _refused(probe: Probe, body: Mapping[str, Any]) -> Advice | None:
    key = next(iter(_refused_keys(probe, body)), None)
    if key is None:
        return None
    top = key.partition(".")[0]
    if top in probe.target.body:
        return Advice(f"The server does not take {key}, which is in [target.body]. Take it out of there.")
    if probe.target.request is not None:
        return Advice(f"The server does not take {key}, which is in [target.request.body]. Take it out of there.")
    return Advice(f"The server does not take {key}. Leave it out of the request.", _omitting(probe, key, {}))


def _omitting(probe: Probe, key: str, instead: dict[str, Any]) -> str:
    omit = [*dict.fromkeys((*probe.target.omit, key))]
    return lines.target(omit=omit, **({"body": instead} if instead else {}))


def _refused_keys(probe: Probe, body: Mapping[str, Any]) -> list[str]:
    """The keys of the request that the server's words name as ones that it does not take."""
    below = [f"{key}.{name}" for key, value in body.items() if isinstance(value, dict) for name in value]
    keys = [key for key in (*below, *body) if key not in _NEEDED]
    named = [place for place in _places(probe) if place in keys]
    if _UNKNOWN.search(probe.words):
        named += [key for key in keys if _names(probe.words, key)]
        named += [key for key in below if _names(probe.words, key.rpartition(".")[2])]
    return named


def _names(words: str, key: str) -> bool:
    return bool(re.search(rf"(?<![\w.]){re.escape(key)}(?!\w)", words))


def _details(probe: Probe) -> list[dict[str, Any]]:
    """FastAPI's list of what is wrong with a body."""
    detail = table_in(probe.body).get("detail")
    return [each for each in detail if isinstance(each, dict)][:20] if isinstance(detail, list) else []


def _place(detail: Mapping[str, Any]) -> str:
    place = detail.get("loc")
    steps = [str(step) for step in place if step != "body"] if isinstance(place, list) else []
    return line(".".join(steps), 80)


def _is_missing(detail: Mapping[str, Any]) -> bool:
    return detail.get("type") in ("missing", "value_error.missing")


def _places(probe: Probe) -> list[str]:
    """The keys that the server complains of, except missing ones."""
    found = [_place(each) for each in _details(probe) if not _is_missing(each)]
    error = dict_at(table_in(probe.body), "error").get("param")
    return [*found, *([error] if isinstance(error, str) and _UNKNOWN.search(probe.words) else [])]


def _missing(probe: Probe) -> Iterator[str]:
    details = _details(probe)
    for each in details:
        if _is_missing(each) and re.fullmatch(r"[A-Za-z_]\w*", _place(each)):
            yield _place(each)
    if not details:
        found = (match[1] for pattern in _MISSING for match in pattern.finditer(probe.words))
        yield from (name for name in found if name.lower() not in _WORDS_OF_SENTENCES)


def _and(names: list[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
