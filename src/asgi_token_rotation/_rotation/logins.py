"""Which sessions began with which login at a provider, so that the provider can end them. In the store, for all workers."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from .._cookies.jwe import KeyRing
from ..errors import InvalidTokenError, StoreError
from ..stores.base import Store
from .ledger import LONGEST_ANSWER, TRIES
from .sealing import KEY_PREFIX

V = TypeVar("V")

MOST_SESSIONS: Final = 200  # of one login; the newest are kept
_DOMAIN: Final = b"asgi-token-rotation login\0"


class Logins:
    """``ttl``: seconds after which no cookie of a session can be opened any more. Every failure is a StoreError."""

    def __init__(self, *, store: Store, secrets: Sequence[str], clock: Callable[[], float], ttl: float) -> None:
        self._store = store
        self._keys = KeyRing(secrets, salt="asgi-token-rotation.login", info="asgi-token-rotation login encryption key")
        self._clock = clock
        self._ttl = ttl

    async def note(self, login: Sequence[str], session_id: str) -> None:
        """Note that the session began with that login. Who changes the same entry at that time is not overwritten."""
        key = _key_of(login)
        for _ in range(TRIES):
            raw = await self._asked(self._store.get(key))
            sessions = [*(known for known in self._opened(raw) if known != session_id), session_id][-MOST_SESSIONS:]
            value = self._ranked(self._keys.seal_bytes(json.dumps(sessions).encode()))
            if await self._asked(self._store.compare_and_set(key, raw, value, self._ttl)):
                return
        raise StoreError(f"The store refused a compare-and-set {TRIES} times in a row.")

    async def sessions(self, login: Sequence[str]) -> list[str]:
        """The ids of the sessions that began with that login, ended ones too."""
        return self._opened(await self._asked(self._store.get(_key_of(login))))

    async def used(self, name: Sequence[str]) -> bool:
        """Whether ``use`` noted that name not too long ago."""
        return await self._asked(self._store.get(_key_of(name))) is not None

    async def use(self, name: Sequence[str], *, ttl: float) -> None:
        """Note the name for ``ttl`` seconds. Of two who do so at one time one is enough."""
        await self._asked(self._store.compare_and_set(_key_of(name), None, self._ranked(b""), ttl))

    def _ranked(self, value: bytes) -> bytes:
        return f"e{self._clock():.0f}:".encode() + value  # as an end: lost last, the oldest first

    def _opened(self, raw: bytes | None) -> list[str]:
        if raw is None:
            return []
        try:
            return [str(entry) for entry in json.loads(self._keys.open_bytes(raw.partition(b":")[2]))]
        except (InvalidTokenError, ValueError, TypeError):
            return []  # sealed with a secret that is gone, as the cookies of those sessions are

    async def _asked(self, answer: Awaitable[V]) -> V:
        try:
            async with asyncio.timeout(LONGEST_ANSWER):
                return await answer
        except Exception as error:
            raise StoreError("The store did not take part in a logout.") from error


def _key_of(name: Sequence[str]) -> str:
    return KEY_PREFIX + hashlib.sha256(_DOMAIN + json.dumps(list(name)).encode()).hexdigest()
