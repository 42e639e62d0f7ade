"""The keys that sign a provider's ID tokens (RFC 7517): asked for by our own HTTP, PyJWT makes the key objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ...errors import SignInError
from .._http import ProviderHttp
from .remembered import Remembered, document_at

MOST_KEYS: Final = 64  # of one provider
MOST_TRIED: Final = 8  # for a signature that does not name its key
SMALLEST_RSA: Final = 2048  # bits (RFC 7518, 3.3)

Key: TypeAlias = Mapping[str, Any]

_FAMILIES: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES: Final = {"ES256": ("P-256",), "ES384": ("P-384",), "ES512": ("P-521",), "EdDSA": ("Ed25519",)}


class Keys:
    """A provider's keys, remembered for the process. ``timeout``: seconds for one look."""

    def __init__(
        self,
        address: Callable[[], Awaitable[str]],
        *,
        http: ProviderHttp,
        clock: Callable[[], float],
        timeout: float,
    ) -> None:
        self._address = address
        self._http = http
        self._clock = clock
        self._found = Remembered(self._fetch, what="keys", clock=clock, timeout=timeout)

    @property
    def known(self) -> Sequence[Key]:
        """Those that are there already. Asks nobody."""
        return self._found.known or ()

    async def get(self) -> Sequence[Key]:
        """The keys. SignInError with ``keys_unavailable``, ``…_timeout``, ``…_too_long``, ``…_misconfigured``, ``…_malformed``."""
        return await self._found.get()

    async def again(self) -> Sequence[Key]:
        """The keys, asked for once more since one was missing, unless that was done a moment ago."""
        self.doubt()
        return await self.get()

    def doubt(self) -> None:
        """A key was missing: the next ``get`` asks again, unless that was done a moment ago."""
        self._found.doubt()

    async def _fetch(self) -> Sequence[Key]:
        document = await document_at(await self._address(), http=self._http, what="keys", now=self._clock())
        return keys_of(document)


def keys_of(document: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys in a set (RFC 7517, 5). SignInError with ``keys_malformed`` where there is no list of them."""
    found: object = document.get("keys")
    if not isinstance(found, list):
        raise SignInError("The provider's keys are no JSON Web Key Set (RFC 7517, 5).", code="keys_malformed")
    entries = cast("list[object]", found)[:MOST_KEYS]
    return tuple(cast("Key", entry) for entry in entries if isinstance(entry, dict))


def candidates(keys: Sequence[Key], *, algorithm: str, kid: str | None) -> list[Key]:
    """The keys that can have made a signature. Some providers leave out the token's ``kid``, or the key's ``alg`` or ``use``."""
    good = [key for key in keys if _fits(key, algorithm)]
    named = [key for key in good if key.get("kid") == kid] if kid is not None else good
    return named[:MOST_TRIED]


def signed_by(key: Key, *, algorithm: str, message: bytes, signature: bytes) -> bool:
    """Whether the key made the signature. A key that can't be read, or is too short, made none."""
    try:
        made = PyJWK(dict(key), algorithm=algorithm)
        if getattr(made.key, "key_size", SMALLEST_RSA) < SMALLEST_RSA and made.key_type == "RSA":
            return False
        return bool(made.Algorithm.verify(message, made.key, signature))
    except (PyJWTError, ValueError, TypeError, KeyError):
        return False


def _fits(key: Key, algorithm: str) -> bool:
    return (
        key.get("kty") == _FAMILIES[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (algorithm not in _CURVES or key.get("crv") in _CURVES[algorithm])
        and "verify" in _list(key.get("key_ops", ["verify"]))
    )


def _list(value: object) -> Sequence[object]:
    return cast("list[object]", value) if isinstance(value, list) else ()
