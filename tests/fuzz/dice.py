"""Choices out of bytes: whoever makes the bytes (a seed, Hypothesis, coverage) makes the input."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """The first byte says how many bytes are choices; what is behind them is ``material``, used as it stands.

    When the choices run out every further one is the first, which is always the plainest: shorter means simpler.
    """

    def __init__(self, data: bytes) -> None:
        size = data[0] if data else 0
        self._choices = data[1 : 1 + size]
        self._at = 0
        self.material = data[1 + size :]
        self.identity = hashlib.sha256(data).hexdigest()  # one for each input, so that inputs share no session

    def number(self, below: int) -> int:
        """From 0 on."""
        width = 1 if below <= 1 << 8 else 2 if below <= 1 << 16 else 4
        chosen = self._choices[self._at : self._at + width]
        self._at += width
        return int.from_bytes(chosen, "big") % below

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; the first is the plainest."""
        return options[self.number(len(options))]

    def chance(self, percent: int) -> bool:
        """True in about so many of a hundred cases."""
        return self.number(100) >= 100 - percent

    def noise(self, most: int = 64) -> bytes:
        """Any bytes: the material, or bytes that four choices are the seed of."""
        if self.material and not self.chance(50):
            return self.material[:most]
        return random.Random(self.number(1 << 32)).randbytes(self.number(most + 1))

    def text(self, most: int = 64) -> str:
        """Any text without lone surrogates."""
        return self.noise(most).decode("utf-8", "replace")


def seeded(random_source: random.Random) -> bytes:
    """The bytes of one input: a hundred choices, and a little material."""
    size = random_source.randrange(20, 110)
    return bytes((size,)) + random_source.randbytes(size + random_source.randrange(0, 40))
