"""Sign-in at an OpenID provider (OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0)."""

from __future__ import annotations

from .data import OIDC as OIDC
