"""Blots out secrets in text from outside: in any case, split by spaces, cut short, or in an encoding that servers make.

Recognised: eight or more characters of a secret in a row, plain or as JSON, URL or HTML escapes (also twice over),
base64, base64url or hex. SECURITY.md says what is not recognised.
"""

import base64
import binascii
import html
import re
from collections.abc import Iterable, Iterator

SHORTEST = 8  # characters; what is shorter occurs in other words, too
_STEP = 4  # of eight equal characters in a row, five stand at a place that is divisible by four
_SAMPLE = SHORTEST - _STEP + 1
_ROUNDS = 3  # of unescaping
_CUT = 100  # characters from which a text may have been cut, in the middle of a secret
_SHORTEST_REST = 4  # characters that a cut may leave of a secret
_WORDS = re.compile(r"[\s,;=\"']+")
_REST_OF_WORD = re.compile(r"[^\s\"',;<>…]*")
_MAY_ESCAPE = re.compile(r"[\\%&]")
_BASE64URL = str.maketrans("+/", "-_")
_ESCAPE = re.compile(
    r"\\+u\{?0*([0-9a-f]{2})\b\}?|\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|%(?:25)*([0-9a-f]{2})"
    r"|&#x0*([0-9a-f]{2});?|(&\#0*\d{2,3};?|&[a-z]{2,8};)|\\+",
    re.IGNORECASE,
)


def is_recognised(secret: str) -> bool:
    """Whether it is long enough to be found in other text: spaces and what looks like an escape do not count."""
    return len(_flat(secret)) >= SHORTEST


class Redaction:
    """What must not be shown of some secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)
        parts = {part for secret in self._secrets for part in (secret, *_parts(secret)) if len(part) >= SHORTEST}
        self._beginnings = {part[:size].lower() for part in parts for size in range(_SHORTEST_REST, SHORTEST)}
        self._forms = "\n".join(sorted({form for part in parts for form in _forms(part) if len(form) >= SHORTEST}))

    def also(self, secrets: Iterable[str]) -> "Redaction":
        """A redaction of these secrets, too."""
        return Redaction((*self._secrets, *secrets))

    def blotted(self, text: str) -> str:
        """The text with `…` in place of secrets."""
        if not self._forms and not self._beginnings:
            return text
        if not self._may_occur(_flat(text)):
            return self._without_cut_secret(text, len(text))
        seen = _unescaped(text)
        flat = "".join(char for char, _, _ in seen)
        hidden = {place for place in range(len(flat) - SHORTEST + 1) if flat[place : place + SHORTEST] in self._forms}
        pieces: list[str] = []
        end = 0
        for place in sorted(hidden):
            begin = seen[place][1]
            if begin > end or not pieces:
                pieces.append(f"{text[end:begin]}…")
            end = max(end, seen[place + SHORTEST - 1][2])
            if place + 1 not in hidden and (rest := _REST_OF_WORD.match(text, end)):
                end = rest.end()
        return "".join(pieces) + self._without_cut_secret(text[end:], len(text))

    def _may_occur(self, flat: str) -> bool:
        """False only if no eight characters of a secret are in the text; much cheaper than to look for them."""
        forms = self._forms
        return any(flat[place : place + _SAMPLE] in forms for place in range(0, len(flat) - _SAMPLE + 1, _STEP))

    def _without_cut_secret(self, text: str, length: int) -> str:
        """Without the beginning of a secret at the end of a text that may have been cut there."""
        if length < _CUT:
            return text
        for size in range(SHORTEST - 1, _SHORTEST_REST - 1, -1):
            if text[-size:].lower() in self._beginnings:
                return f"{text[:-size]}…"
        return text


def _parts(secret: str) -> Iterator[str]:
    """A header's value, and the words in it that are long enough: a server may repeat a key without its `Bearer`.

    The words of HTTP's basic authentication are also taken as what they encode, a name and a password.
    """
    words = [_packed(secret), *_WORDS.split(secret)]
    inside = [part for word in words for part in (decoded(word), *decoded(word).split(":"))]
    return (part for part in (*words, *inside) if len(part) >= SHORTEST)


def decoded(word: str) -> str:
    """The text that a word of base64 encodes; "" if it is none."""
    try:
        text = base64.b64decode(word + "=" * (-len(word) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text if text.isprintable() else ""


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, and as base64 at any place of a longer text, as base64url and as hex; all as `_flat` text."""
    data = secret.encode()
    yield from (_packed(secret).lower(), _flat(secret), _packed(data.decode("latin-1")).lower(), data.hex())
    for before, spoilt in ((0, 0), (1, 2), (2, 3)):
        whole = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        inner = whole[spoilt : len(whole) - ((before + len(data)) % 3 != 0)].lower()
        yield from (inner, inner.translate(_BASE64URL))


def _packed(text: str) -> str:
    """Without spaces, and what does not show."""
    packed = "".join(text.split())
    return packed if packed.isprintable() else "".join(filter(str.isprintable, packed))


def _flat(text: str) -> str:
    """The text without escapes and spaces, in lower case."""
    for _ in range(_ROUNDS if _MAY_ESCAPE.search(text) else 0):
        unescaped = _ESCAPE.sub(_char, text)
        if unescaped == text:
            break
        text = unescaped
    return _packed(text).lower()


def _char(found: re.Match[str]) -> str:
    """The character that an escape stands for; backslashes before any other character stand for nothing."""
    code = next((group for group in found.groups()[:5] if group), None)
    if code is not None:
        return chr(int(code, 16))
    return html.unescape(found[6]) if found[6] else ""


def _unescaped(text: str) -> list[tuple[str, int, int]]:
    """The characters of `_flat`, each with its place in `text`."""
    seen = [(char, place, place + 1) for place, char in enumerate(text)]
    for _ in range(_ROUNDS):
        flat = "".join(char for char, _, _ in seen)
        escapes = list(_ESCAPE.finditer(flat))
        for found in reversed(escapes):
            begin, end = seen[found.start()][1], seen[found.end() - 1][2]
            seen[found.start() : found.end()] = [(char, begin, end) for char in _char(found)[:1]]
        if not escapes:
            break
    shown = ((small, begin, end) for char, begin, end in seen for small in char.lower())  # İ: an i and a dot
    return [each for each in shown if not each[0].isspace() and each[0].isprintable()]
