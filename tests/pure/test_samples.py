"""A tool's input is made from its schema, which is untrusted."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import validator_for

from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.samples import sample

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]},
    {"type": "object"},
    {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}, "exact": {"type": "boolean"}}},
    {
        "type": "object",
        "properties": {"at": {"type": "string", "format": "date-time"}, "note": {"type": ["string", "null"]}},
    },
    {"type": "object", "properties": {"n": {"type": "integer", "minimum": -40, "maximum": -30}}},
    {"type": "object", "properties": {"share": {"type": "number", "minimum": 0.25, "maximum": 0.5}}},
    {
        "type": "object",
        "properties": {"names": {"type": "array", "items": {"type": "string", "maxLength": 2}, "minItems": 3}},
    },
    {"type": "object", "properties": {"code": {"type": "string", "minLength": 12}, "mode": {"const": "fast"}}},
    {"type": "object", "properties": {"either": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}},
    {
        "type": "object",
        "properties": {"where": {"$ref": "#/$defs/Place"}},
        "required": ["where"],
        "$defs": {"Place": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}},
    },
    *(tool.schema for tool in tools.TOOLS.values()),
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_sample_fits_its_schema(schema: dict[str, Any]) -> None:
    kind = validator_for(schema)
    kind.check_schema(schema)
    validator = kind(schema)

    @given(st.integers(0, 100))
    def fits(seed: int) -> None:
        validator.validate(sample(schema, Random(seed)))

    fits()


def test_the_same_randomness_gives_the_same_sample() -> None:
    assert sample(SCHEMAS[0], Random(7)) == sample(SCHEMAS[0], Random(7))
    assert len({json.dumps(sample(SCHEMAS[0], Random(seed))) for seed in range(20)}) > 1


def test_a_schema_without_an_end_gives_a_small_value() -> None:
    node: dict[str, Any] = {"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 50}
    tree = {"type": "object", "properties": {str(n): {"$ref": "#/$defs/node"} for n in range(60)}}
    for endless in (node, tree, {"$ref": "#"}, {"anyOf": [{"$ref": "#"}]}):
        assert len(json.dumps(sample({**endless, "$defs": {"node": endless}}, Random(0)))) < 10_000


def test_a_schema_with_values_that_are_huge_or_not_json_gives_a_small_value() -> None:
    for value in ("x" * 1_000_000, ["y"] * 100_000, "\ud800", 10**400):
        schemas: list[Any] = [{"const": value}, {"enum": [value] * 3}, {"properties": {str(value): {}}}]
        made = sample({"properties": {str(n): schema for n, schema in enumerate(schemas)}}, Random(0))
        assert len(json.dumps(made)) < 10_000
        assert "ud800" not in json.dumps(made)


def test_a_reference_of_many_steps_leads_nowhere_and_is_not_read_to_its_end() -> None:
    nested: dict[str, Any] = {"type": "boolean"}
    for _ in range(60):
        nested = {"a": nested}
    schema = {"$ref": "#" + "/a" * 60, **nested}
    assert isinstance(sample(schema, Random(0)), bool)
    deeper = nested
    for _ in range(10):
        deeper = {"a": deeper}
    assert sample({"$ref": "#" + "/a" * 70, **deeper}, Random(0)) is None


WORDS = st.sampled_from(
    """type object array string integer properties items $ref # enum anyOf minItems minLength maximum minimum maxLength
    format examples""".split()  # noqa: SIM905 - a list would fill the screen
)
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=10,
)


@given(ANY_JSON)
def test_any_value_as_a_schema_gives_a_small_value(schema: Any) -> None:
    assert len(repr(sample(schema, Random(0)))) < 20_000
