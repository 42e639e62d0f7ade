"""How a check ended."""

from __future__ import annotations

from dataclasses import dataclass


class Skipped(Exception):  # noqa: N818 it is no error
    """What the check is about does not exist there; the text says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``limit``: the letter of a known limit, which was there. ``skipped``, ``failed``: why."""

    limit: str | None = None
    skipped: str | None = None
    failed: str | None = None
