"""The headers under which the examples' page works: everything from our own origin, nothing inline, no frames."""

from __future__ import annotations

from types import MappingProxyType

PAGE_HEADERS = MappingProxyType(
    {
        "content-security-policy": (
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
        ),
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
)
