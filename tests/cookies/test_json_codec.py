from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_token_rotation._cookies import json_codec

PARSERS = [json_codec.parse_with_stdlib, json_codec.parser("orjson")]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)) | st.integers(min_value=2**62, max_value=2**70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_round_trip(value: object) -> None:
    """Whatever JSON can say comes back as it was, types included, from either parser, and the text is UTF-8."""
    text = json_codec.dumps(value)
    assert text.decode("utf-8")
    assert [repr(parse(text)) for parse in PARSERS] == [repr(value)] * 2


@pytest.mark.parametrize(
    ("value", "text"),
    [("日本 é 🚀", '"日本 é 🚀"'), (["\ud800", "é"], '["\\ud800","\\u00e9"]'), ("\u2028\x7f", '"\u2028\x7f"'), ("\x01", '"\\u0001"')],
)  # fmt: skip
def test_text_is_written_as_javascript_writes_it(value: object, text: str) -> None:
    """What Auth.js fits into its cookies fits into ours: no escapes but for control characters and beside lone surrogates."""
    assert json_codec.dumps(value) == text.encode("utf-8")


@pytest.mark.parametrize(
    "text",
    [b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b'{"a":[1,{"b":123456789012345678901}]}',
     b"1e300", b"1e999", b"-0", b'"\\ud800"', b'{"a":1,"a":2}', b" [1] ", b'"\xc3\xa9"', b"-1e999", b"[9e18]"],
)  # fmt: skip
def test_parsers_agree(text: bytes) -> None:
    """With and without orjson the same text gives the same values, types included."""
    stdlib, orjson = (parse(text) for parse in PARSERS)
    assert repr(stdlib) == repr(orjson)


@pytest.mark.parametrize("parse", [*PARSERS, json_codec.loads])
@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"NaN", b"[Infinity]", b"-Infinity", b"9" * 5000, b'"\xff"', b'\xef\xbb\xbf{}', b"{}x", b"{'a':1}",
     b'"\x01"', "{}".encode("utf-16"), nested(json_codec.MAX_DEPTH + 1), b"[" * 1500 + b"]" * 1500, b"[" * 200_000],
)  # fmt: skip
def test_what_is_not_json_is_a_value_error(parse: json_codec.Parser, text: bytes) -> None:
    """I10: hostile text raises ValueError and nothing else."""
    with pytest.raises(ValueError):
        parse(text)


def test_depth_is_bounded_in_both_directions() -> None:
    """What is sealed can be opened again: the bound on nesting holds for both."""
    deepest = json_codec.loads(nested(json_codec.MAX_DEPTH))
    assert json_codec.loads(json_codec.dumps(deepest)) == deepest
    with pytest.raises(ValueError, match="deeper than 100"):
        json_codec.dumps(({"a": deepest},))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_no_nan(value: object) -> None:
    """NaN and Infinity are no JSON and are not written."""
    with pytest.raises(ValueError):
        json_codec.dumps(value)


def test_lone_surrogates_are_escapes() -> None:
    """A lone surrogate is written as JavaScript writes it, and read back."""
    assert json_codec.dumps("\ud800é") == b'"\\ud800\\u00e9"'
    assert json_codec.loads(b'"\\ud800\\u00e9"') == "\ud800é"


def test_without_orjson() -> None:
    """Where the extra is not installed the standard library reads."""
    assert json_codec.parser("a_module_that_is_not_there") is json_codec.parse_with_stdlib


def test_tuples_and_subclasses_are_written() -> None:
    """What the standard library writes is written: tuples as arrays, subclasses as their base."""

    class Text(str):
        __slots__ = ()

    assert json_codec.dumps({"a": (1, [Text("x")])}) == json.dumps({"a": [1, ["x"]]}, separators=(",", ":")).encode()
