"""What all visits share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._cookies.session_cookie import SessionCookie
from ._log import Once
from ._origins import Origins
from ._rotation.claimant import Tools
from ._rotation.rotator import Rotator
from ._user_code import UserCode
from .options import Lifetime, RefreshOptions
from .types import Event, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that the runtime builds, for one request after the other."""

    origins: Origins
    secure_cookie: SessionCookie
    plain_cookie: SessionCookie
    rotator: Rotator
    code: UserCode
    options: RefreshOptions
    lifetime: Lifetime
    emit: Callable[[Event], None]
    tools: Tools
    connect: Callable[[Scope], Any]  # makes the connection object that callbacks get
    state_key: str
    mark: str | None  # of this process, where the store is not shared
    once: Once = field(default_factory=Once)

    def cookie(self, scope: Scope) -> SessionCookie:
        """The session cookie of this request's site."""
        return self.secure_cookie if self.origins.secure(scope) else self.plain_cookie
