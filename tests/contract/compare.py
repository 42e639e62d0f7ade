"""Holds two recordings against each other. What differs must be on the list, and what is on the list must differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from asgi_token_rotation.types import Dialect

ANY: Final = re.compile(r"")

Pair = Callable[[Any, Any], bool]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One allowed difference: where it may be, what stands there on either side, and why.

    ``scenario`` and ``field`` are shell patterns, of which one must fit. ``theirs`` and ``ours`` are values, or regular
    expressions for text; ``pair`` judges both together.
    """

    reason: str
    field: str | Sequence[str]
    scenario: str | Sequence[str] = "*"
    dialect: Dialect | None = None
    theirs: Any = ANY
    ours: Any = ANY
    status: int | None = None  # which one ours is, if it is the status that differs
    pair: Pair | None = None

    def allows(self, found: Found) -> bool:
        """Whether this is it."""
        return (
            self.dialect in (None, found.dialect)
            and _fits(self.field, found.field)
            and _fits(self.scenario, found.scenario)
            and _is(self.theirs, found.theirs)
            and _is(self.ours, found.ours)
            and (self.status is None or found.field != "status" or found.ours == self.status)
            and (self.pair is None or self.pair(found.theirs, found.ours))
        )


@dataclass(frozen=True)
class Found:
    """One field of one step that is not the same on both sides. None: it is not there."""

    dialect: Dialect
    scenario: str
    step: int
    field: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return (
            f"{self.dialect}, {self.scenario} [{self.step}], {self.field}: theirs {self.theirs!r}, ours {self.ours!r}"
        )


def found_differences(
    theirs: Mapping[str, Sequence[Mapping[str, Any]]],
    ours: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    dialect: Dialect,
) -> list[Found]:
    """Every field that differs."""
    assert list(theirs) == list(ours), "not the same scenarios: record anew with `make contract`"
    found: list[Found] = []
    for name, real in theirs.items():
        assert len(real) == len(ours[name]), f"not the same number of steps: {name}"
        for step, (theirs_here, ours_here) in enumerate(zip(real, ours[name], strict=True)):
            found += [
                Found(dialect, name, step, field, theirs_here.get(field), ours_here.get(field))
                for field in {**theirs_here, **ours_here}
                if theirs_here.get(field) != ours_here.get(field)
            ]
    return found


def verdict(found: Iterable[Found], allowed: Sequence[Difference]) -> tuple[list[str], list[str]]:
    """The differences that nothing allows, and the reasons of those allowed ones that appear no more."""
    unused = set(range(len(allowed)))
    unlisted: list[str] = []
    for each in found:
        fitting = {place for place, difference in enumerate(allowed) if difference.allows(each)}
        unused -= fitting
        if not fitting:
            unlisted.append(str(each))
    return unlisted, [f"{allowed[place].field}: {allowed[place].reason}" for place in sorted(unused)]


def _fits(patterns: str | Sequence[str], text: str) -> bool:
    each = (patterns,) if isinstance(patterns, str) else patterns
    return any(fnmatchcase(text, pattern) for pattern in each)


def _is(expected: Any, value: Any) -> bool:
    if expected is ANY:
        return True
    if isinstance(expected, re.Pattern):
        return isinstance(value, str) and expected.fullmatch(value) is not None
    return type(expected) is type(value) and bool(expected == value)
