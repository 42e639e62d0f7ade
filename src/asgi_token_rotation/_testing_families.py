"""The token server's book: which tokens belong together, and what a refresh token is worth. No I/O.

A *family* is what one sign-in began: its refresh tokens, of which the newest alone is alive, and its access tokens.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import jwt


@dataclass(slots=True, repr=False)
class _Family:
    number: int
    username: str
    generation: int = 0
    refresh_token: str = ""
    refresh_expires_at: float = float("inf")
    revoked: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Issued:
    """What a sign-in or a refresh gives out. ``expires_in``, ``refresh_expires_in``: seconds from ``at``."""

    access_token: str
    refresh_token: str
    at: float
    expires_in: float
    refresh_expires_in: float | None


class TokenFamilies:
    """Issues tokens, rotates them, and revokes a family when one of its refresh tokens comes twice (RFC 9700, 4.14)."""

    def __init__(self, *, jwt_access_tokens: bool) -> None:
        self.rotations = 0
        self.reuses = 0
        self._jwt_key = secrets.token_bytes(32) if jwt_access_tokens else None
        self._families = 0
        self._refresh_tokens: dict[str, tuple[_Family, int]] = {}
        self._access_tokens: dict[str, tuple[_Family, int, float]] = {}  # with its expiry

    def start(self, username: str, *, now: float, expires_in: float, refresh_expires_in: float | None) -> Issued:
        """A family of its own for a sign-in."""
        self._families += 1
        family = _Family(self._families, username)
        self._renew(family, now=now, lifetime=refresh_expires_in)
        return self._issue(family, now=now, expires_in=expires_in, refresh_expires_in=refresh_expires_in)

    def refresh(
        self, token: str, *, now: float, expires_in: float, refresh_expires_in: float | None, rotate: bool = True
    ) -> Issued | None:
        """New tokens for a refresh token; None: it is refused. One that was rotated out takes its family with it."""
        family, generation = self._refresh_tokens.get(token, (None, 0))
        if family is None or family.revoked:
            return None
        if generation != family.generation:
            self.reuses += 1
            family.revoked = True
            return None
        if family.refresh_expires_at <= now:
            return None
        if rotate:
            self.rotations += 1
            family.generation += 1
            self._renew(family, now=now, lifetime=refresh_expires_in)
        return self._issue(family, now=now, expires_in=expires_in, refresh_expires_in=refresh_expires_in)

    def revoke(self, token: str) -> bool:
        """Revoke the family of a refresh or access token (RFC 7009); False where it is unknown."""
        known = self._refresh_tokens.get(token) or self._access_tokens.get(token)
        if known is not None:
            known[0].revoked = True
        return known is not None

    def owner(self, access_token: str, *, now: float) -> str | None:
        """The user whose access token it is; None: unknown, expired or revoked."""
        family, _, expires_at = self._access_tokens.get(access_token, (None, 0, 0.0))
        return None if family is None or family.revoked or expires_at <= now else family.username

    def name_of(self, token: str) -> str:
        """A token's short name, ``family-generation``, which may be shown; ``unknown`` for what was never issued."""
        known = self._refresh_tokens.get(token) or self._access_tokens.get(token)
        return f"{known[0].number}-{known[1]}" if known else "unknown"

    def _renew(self, family: _Family, *, now: float, lifetime: float | None) -> None:
        family.refresh_token = secrets.token_urlsafe(32)
        family.refresh_expires_at = float("inf") if lifetime is None else now + lifetime
        self._refresh_tokens[family.refresh_token] = (family, family.generation)

    def _issue(self, family: _Family, *, now: float, expires_in: float, refresh_expires_in: float | None) -> Issued:
        access_token = secrets.token_urlsafe(24)
        if self._jwt_key is not None:
            claims = {"sub": family.username, "iat": int(now), "exp": int(now + expires_in), "jti": access_token}
            access_token = jwt.encode(claims, self._jwt_key, algorithm="HS256")
        self._access_tokens[access_token] = (family, family.generation, now + expires_in)
        return Issued(access_token, family.refresh_token, now, expires_in, refresh_expires_in)
