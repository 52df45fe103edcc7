"""Makes a value that fits a JSON Schema, as a model would write a tool's input. Pure: the caller gives the randomness.

Supported is what the schemas of tools use: types, enums, bounds, properties, references within the document. Patterns,
`not` and `if` are ignored. The schema is untrusted: whatever it contains, nothing is raised and the value stays small.
"""

import math
from random import Random
from typing import Any

import msgspec

_DEEPEST = 8
_MOST_VALUES = 200
_LONGEST = 64  # characters, items, steps of a reference
_MOST_BYTES = 4096  # of a value that the schema itself contains
_WORDS = ("river", "station", "gauge", "Höfn", "level", "north", "morning", "ice")
_FORMATS = {
    "date": "2026-11-23",
    "date-time": "2026-11-23T09:00:00Z",
    "time": "09:00:00Z",
    "email": "gauge@example.org",
    "uri": "https://example.org/",
}


def sample(schema: Any, random: Random) -> Any:
    """A value for this schema, with None for parts that no value fits, or only an endless one."""
    return _Sampler(schema, random).value(schema, 0)


class _Sampler:
    def __init__(self, document: Any, random: Random) -> None:
        self.document = document  # the document that references point into
        self.random = random
        self.values = 0

    def value(self, schema: Any, depth: int) -> Any:
        self.values += 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self.values > _MOST_VALUES:
            return None
        if isinstance(reference := schema.get("$ref"), str):
            return self.value(self._referred(reference), depth + 1)
        for given in ("const", "default"):
            if given in schema and _small(schema[given]):
                return schema[given]
        for listed in (schema.get("enum"), schema.get("examples")):
            if isinstance(listed, list) and listed and _small(listed[:_LONGEST]):
                return self.random.choice(listed[:_LONGEST])
        for alternatives in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
            if isinstance(alternatives, list) and alternatives:
                return self.value(alternatives[0], depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                properties = schema.get("properties")
                given = list(properties.items())[:_LONGEST] if isinstance(properties, dict) else []
                return {name: self.value(of, depth + 1) for name, of in given if _small(name)}
            case "array":
                count = int(
                    min(max(_number(schema, "minItems", 1), 1), _number(schema, "maxItems", _LONGEST), _LONGEST)
                )
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "integer" | "number":
                low, high = _number(schema, "minimum", 0), _number(schema, "maximum", 10)
                least, most = math.ceil(low), math.floor(max(high, low))
                return self.random.randint(least, most) if least <= most else low
            case "boolean":
                return self.random.random() < 0.5
            case "string":
                text = _FORMATS.get(str(schema.get("format")), self.random.choice(_WORDS))
                shortest, longest = _number(schema, "minLength", 0), _number(schema, "maxLength", _LONGEST)
                return text.ljust(int(min(shortest, _LONGEST)), ".")[: int(max(longest, 0))]
        return None

    def _referred(self, reference: str) -> Any:
        found = self.document
        for name in reference.removeprefix("#").split("/", _LONGEST):
            if name:
                found = found.get(name) if isinstance(found, dict) else None
        return found


def _small(given: Any) -> bool:
    """Whether a value in the schema can be used as it is."""
    try:
        return len(msgspec.json.encode(given)) <= _MOST_BYTES
    # An unpaired surrogate, nesting that is too deep, a number that is too large.
    except (ValueError, RecursionError, OverflowError):
        return False


def _number(schema: dict[str, Any], name: str, otherwise: float) -> float:
    found = schema.get(name)
    return found if isinstance(found, int | float) and abs(found) < 2**53 else otherwise
