"""The examples' page: where its files are, and the headers under which it works."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

STATIC = Path(__file__).resolve().parent / "static"

Asset: TypeAlias = Literal["demo.css", "demo.js", "icon.svg", "timeline.js"]

# Everything from our own origin, nothing inline, no frames.
PAGE_HEADERS = MappingProxyType(
    {
        "cache-control": "no-cache",
        "content-security-policy": (
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
        ),
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
)
