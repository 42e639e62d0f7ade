"""Claims as JSON text: compact out, as JavaScript writes it, strict in. With orjson (extra ``speed``) it is the same."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from typing import Any

MAX_DEPTH = 100  # of nested arrays and objects; what is deeper could exhaust the stack of whoever walks it

Parser = Callable[[bytes], Any]

_PLAIN = frozenset((str, int, bool, type(None)))
_FLAT = _PLAIN | {float}
_TWO_TO_63 = 2.0**63


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON. A lone surrogate, which UTF-8 does not have, becomes an escape, as in JavaScript.

    Raises TypeError for what is not JSON, ValueError for NaN, Infinity, a circle, and nesting beyond ``MAX_DEPTH``.
    """
    try:
        text = _encoder.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        text = _ascii_encoder.encode(value).encode("ascii")
    _survey(value)
    return text


def loads(text: bytes) -> Any:
    """What the UTF-8 JSON says; of duplicate keys the last counts.

    ValueError, and nothing else, for what is not JSON, for NaN and Infinity, and for nesting beyond ``MAX_DEPTH``.
    """
    return _parse(text)


def parse_with_stdlib(text: bytes) -> Any:
    """The reference, which every faster parser has to agree with."""
    try:
        value = _decoder.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    _survey(value)
    return value


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
        return parse_with_stdlib(text) if _survey(value) else value

    return parse


def _refuse_constant(name: str) -> Any:
    # RFC 8259, 6: no NaN and no Infinity, which Python's reader would accept.
    raise ValueError(f"{name} is not JSON.")


def _survey(value: Any) -> bool:
    """Whether there is a float so large that it may have been an integer. ValueError beyond ``MAX_DEPTH``."""
    if value.__class__ is dict and _FLAT.issuperset(map(type, value.values())):  # nearly all tokens
        return bool(
            [item for item in value.values() if item.__class__ is float and not -_TWO_TO_63 < item < _TWO_TO_63]
        )
    huge = False
    level: list[Iterable[Any]] = [(value,)]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Iterable[Any]] = []
        for items in level:
            for item in items:
                kind = item.__class__
                if kind in _PLAIN:
                    continue
                if issubclass(kind, float):
                    huge = huge or not -_TWO_TO_63 < item < _TWO_TO_63
                elif issubclass(kind, dict):
                    deeper.append(item.values())
                elif issubclass(kind, (list, tuple)):
                    deeper.append(item)
        level = deeper
        if not level:
            return huge
    raise ValueError(f"The JSON is nested deeper than {MAX_DEPTH} levels.")


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ascii_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_parse = parser("orjson")
