"""In which header a server expects its key, by its words, its challenge or its host. Pure."""

import re
from collections.abc import Iterator

from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe

_KEY_HEADERS = re.compile(r"auth|key|token|secret|cookie|passw|session|sign", re.IGNORECASE)
# What servers and gateways say of keys, whatever the status: some answer 400 to a key that they do not know.
_ABOUT_KEYS = re.compile(
    r"(?:missing|invalid|incorrect|no|without|expired|provide|pass|unauthorized|unregistered)[\w' -]{0,40}"
    r"(?:api[ _-]?key|subscription key|credentials|access token|authorization header|bearer token|callers)"
    r"|api[ _-]?key[\w' -]{0,20}(?:not valid|invalid|missing|required|expired)|authentication[_ ]error",
    re.IGNORECASE,
)
# The most special first: words that name one of the later ones may belong to one of the first.
_HEADERS = {
    "ocp-apim-subscription-key": "${API_KEY}",  # Azure API Management
    "cf-aig-authorization": "Bearer ${API_KEY}",  # Cloudflare's AI Gateway
    "x-litellm-api-key": "Bearer ${API_KEY}",
    "x-portkey-api-key": "${API_KEY}",
    "helicone-auth": "Bearer ${API_KEY}",
    "x-functions-key": "${API_KEY}",  # Azure Functions
    "x-goog-api-key": "${API_KEY}",
    "x-subscription-token": "${API_KEY}",
    "x-auth-token": "${API_KEY}",
    "x-api-token": "${API_KEY}",
    "x-api-key": "${API_KEY}",  # Anthropic, and many gateways
    "api-key": "${API_KEY}",  # Azure OpenAI
    "apikey": "${API_KEY}",  # Kong, Supabase
    "authorization": "Bearer ${API_KEY}",
}
_HOSTS = (
    (re.compile(r"\.azure-api\.net$"), "ocp-apim-subscription-key"),
    (re.compile(r"\.(?:openai|cognitiveservices|services\.ai|ai)\.azure\.(?:com|us|cn)$"), "api-key"),
    (re.compile(r"generativelanguage\.googleapis\.com$"), "x-goog-api-key"),
    (re.compile(r"\.anthropic\.com$"), "x-api-key"),
)
_WORDS = ((re.compile("unregistered callers|api key not valid", re.IGNORECASE), "x-goog-api-key"),)
_BY_PROTOCOL = {"anthropic_messages": "x-api-key", "gemini": "x-goog-api-key"}
_CHALLENGE = re.compile(r'name="?([\w-]+)"?,? *type="?header', re.IGNORECASE)
_SIGNED = re.compile("missing authentication token|x-amz-|sigv4|security token included", re.IGNORECASE)


def header_of(protocol: str, variable: str) -> str:
    """How a server of this protocol usually gets the key in this variable of the environment, as `name: value`."""
    name = _BY_PROTOCOL.get(protocol, "authorization")
    return f"{name}: {_HEADERS[name].replace('API_KEY', variable)}"


def about_keys(probe: Probe) -> bool:
    """Whether the server's words are about a key, whatever its status says."""
    return bool(_ABOUT_KEYS.search(probe.words))


def of_keys(probe: Probe) -> Iterator[Advice]:
    """What would help a server that does not accept the key, or lacks it."""
    if _SIGNED.search(probe.words):
        yield Advice(
            "AWS wants each request signed (SigV4), which streamgauge does not do. Use a Bedrock API key "
            "(authorization: Bearer …), or a gateway that signs."
        )
        return
    sent = [name for name in probe.site.own_headers if _KEY_HEADERS.search(name)]
    usual = expected_header(probe)
    wanted = lines.target(headers={usual: _HEADERS.get(usual, "${API_KEY}")})
    if not sent:
        says = "No key was sent. Export it as API_KEY, and add the header in which the server expects it:"
        yield Advice(says, wanted, likely=False)
        return
    given = ", ".join(f"{name}: {shown}" for name, shown in _shown(probe, sent))
    yield Advice(
        f"The server does not accept what was sent ({given}). Is it the key of this server, and may it use this "
        f"model?{_other_header(probe, usual, sent)}",
        "" if usual in sent else wanted,
        likely=False,
    )


def expected_header(probe: Probe) -> str:
    """Where the server expects its key: as it says itself, as its host does, or as is usual for the protocol."""
    challenge = probe.headers.get("www-authenticate", "")
    named = _CHALLENGE.search(challenge)
    if named:
        return named[1].lower()
    for name in _HEADERS:
        if re.search(rf"(?<![\w-]){name}(?![\w-])", probe.words, re.IGNORECASE):
            return name
    host = probe.site.endpoint.host.lower()
    known = [name for pattern, name in _HOSTS if pattern.search(host)]
    known += [name for pattern, name in _WORDS if pattern.search(probe.words)]
    return known[0] if known else _BY_PROTOCOL.get(probe.protocol.name, "authorization")


def _shown(probe: Probe, names: list[str]) -> Iterator[tuple[str, str]]:
    for name, raw in probe.target.headers.items():
        if name.lower() in names:
            yield name.lower(), " ".join(re.findall(r"\$\{[^}]*\}", raw)) or "…"


def _other_header(probe: Probe, usual: str, sent: list[str]) -> str:
    scheme = probe.headers.get("www-authenticate", "")
    asked = f" The server asks for: {line(scheme, 60)}." if scheme else ""
    if usual not in sent:
        return f"{asked} It probably expects it in the header {usual}:"
    value = probe.site.own_headers.get("authorization", "")
    if "authorization" in sent and " " not in value:
        return f'{asked} The value has no scheme: most servers want "Bearer ${{…}}".'
    return asked
