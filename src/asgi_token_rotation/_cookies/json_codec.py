"""Claims as JSON text: compact out, as JavaScript writes it, strict in. With orjson (extra ``speed``) it is the same."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_DEPTH = 100  # of nested arrays and objects; what is deeper could exhaust the stack of whoever walks it

Parser = Callable[[bytes], Any]
Writer = Callable[[Any], bytes]

_PLAIN = frozenset((str, int, bool, type(None)))
_JSON = _PLAIN | {float, dict, list, tuple}
_TWO_TO_63 = 2.0**63


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON. A lone surrogate, which UTF-8 does not have, becomes an escape, as in JavaScript.

    Raises TypeError for what is not JSON, ValueError for NaN, Infinity, a circle, and nesting beyond ``MAX_DEPTH``.
    """
    return _write(value)


def loads(text: bytes) -> Any:
    """What the UTF-8 JSON says; of duplicate keys the last counts.

    ValueError, and nothing else, for what is not JSON, for NaN and Infinity, and for nesting beyond ``MAX_DEPTH``.
    """
    return _parse(text)


def write_with_stdlib(value: Any) -> bytes:
    """The reference, which every faster writer has to agree with, but for how it spells a number."""
    try:
        text = _encoder.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        text = _ascii_encoder.encode(value).encode("ascii")
    if not _is_simple(value):
        _survey(value)
    return text


def parse_with_stdlib(text: bytes) -> Any:
    """The reference, which every faster parser has to agree with."""
    try:
        string = text.decode("utf-8")
        value, end = _decoder.raw_decode(string) if string.startswith("{") else (None, -1)
        if end != len(string):  # blanks around it, or it is no object
            value = _decoder.decode(string)
    except RecursionError:
        raise ValueError(f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    if not _is_simple(value):
        _survey(value)
    return value


def writer(module: str) -> Writer:
    """A writer on the ``dumps`` of orjson, by its name; the reference where it is not installed.

    orjson takes more than JSON (enums, UUIDs, NaN), and less of it (integers beyond 64 bits, lone surrogates): there the
    reference has the last word.
    """
    try:
        fast: Writer = importlib.import_module(module).dumps
    except ImportError:
        return write_with_stdlib

    def write(value: Any) -> bytes:
        try:
            text = fast(value)
        except TypeError:  # orjson's errors are TypeErrors; the reference knows better, or says it in its own words
            return write_with_stdlib(value)
        if not (_is_simple(value) or _survey(value).only_json):
            return write_with_stdlib(value)
        return text

    return write


def parser(module: str) -> Parser:
    """A parser on the ``loads`` of orjson, by its name; the reference where it is not installed.

    orjson refuses lone surrogates, and reads integers beyond 64 bits as floats: there the reference has the last word.
    """
    try:
        fast: Parser = importlib.import_module(module).loads
    except ImportError:
        return parse_with_stdlib

    def parse(text: bytes) -> Any:
        try:
            value = fast(text)
        except ValueError:
            return parse_with_stdlib(text)
        return value if _is_simple(value) or not _survey(value).huge else parse_with_stdlib(text)

    return parse


def _refuse_constant(name: str) -> Any:
    # RFC 8259, 6: no NaN and no Infinity, which Python's reader would accept.
    raise ValueError(f"{name} is not JSON.")


class _Survey(NamedTuple):
    """What a walk through a value found."""

    huge: bool  # a float so large that it may have been an integer
    only_json: bool  # nothing but the types that a parser of JSON makes, and tuples; every number finite


def _survey(value: Any) -> _Survey:
    """Walk through a value. ValueError beyond ``MAX_DEPTH``."""
    huge, only_json = False, True
    level = [value]
    for depth in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for item in level:
            kind = item.__class__
            only_json = only_json and kind in _JSON
            if issubclass(kind, float):
                huge = huge or not -_TWO_TO_63 < item < _TWO_TO_63
            elif issubclass(kind, (dict, list, tuple)):
                if depth == MAX_DEPTH:
                    raise ValueError(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
                inner = item.values() if issubclass(kind, dict) else item
                deeper += [one for one in inner if one.__class__ not in _PLAIN]
        level = deeper
        if not level:
            break
    return _Survey(huge, only_json and not huge)


def _is_simple(value: Any) -> bool:
    """Whether it is an object of texts and small numbers, and of lists and objects of these, as nearly all tokens are."""
    if value.__class__ is not dict:
        return False
    for item in value.values():
        kind = item.__class__
        if kind is str or kind in _PLAIN or (kind is float and -_TWO_TO_63 < item < _TWO_TO_63):
            continue
        inner = item if kind is list else item.values() if kind is dict else (item,)
        if not _PLAIN.issuperset(map(type, inner)):
            return False
    return True


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ascii_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_parse = parser("orjson")
_write = writer("orjson")
