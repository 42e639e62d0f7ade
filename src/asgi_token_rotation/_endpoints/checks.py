"""The checks of sign-ins under way: each in a sealed cookie of its own, so that several tabs can sign in at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from .._cookies.chunks import Attributes, clear, read_one, set_one
from .._cookies.jwe import KeyRing, sealed_cookie_key_ring
from ..errors import InvalidTokenError
from ..providers._authorization import FLOW_SECONDS, Checks, flow_of, is_flow
from ..types import Dialect, Scope
from .side_cookies import state_cookie_name

MOST_FLOWS: Final = 5  # of one browser at one time
MOST_DROPPED: Final = 20  # by one answer: a flood of planted cookies must not come back as a flood of headers
MOST_BYTES: Final = 4096  # of their cookies together, so that no front end refuses the browser's requests


class ChecksCookies:
    """The cookies on one kind of connection: Auth.js's name for the state cookie, a dot, and the flow's name.

    They carry the verifier and the nonce too, and are sent to the endpoints only.
    """

    def __init__(self, secrets: Sequence[str], attributes: Attributes, *, dialect: Dialect) -> None:
        self._stem = state_cookie_name(dialect, secure=attributes.secure)
        self._keys: KeyRing = sealed_cookie_key_ring(secrets, cookie_name=self._stem, dialect=dialect)
        self._attributes = attributes

    def begin(self, scope: Scope, checks: Checks, *, path: str, now: float) -> list[bytes]:
        """The ``Set-Cookie`` values for a new flow: its own, and those that make room for it, the oldest first.

        CookieTooLargeError where it does not fit.
        """
        sealed = self._keys.seal(_claims_of(checks), now=now, expires=now + FLOW_SECONDS)
        attributes = self._at(path)
        name = self._name(flow_of(checks.state))
        own = set_one(name, sealed, attributes, max_age=FLOW_SECONDS)
        dropped = list(_surplus(self._present(scope), room=MOST_BYTES - len(name) - len(sealed)))[-MOST_DROPPED:]
        return [*clear(dropped, attributes), own]

    def find(self, scope: Scope, state: str | None, *, now: float) -> Checks | None:
        """The checks of the flow that a state names, or None. The state itself is still to be compared."""
        flow = flow_of(state)
        sealed = None if flow is None else read_one(scope["headers"], self._name(flow))
        if not sealed:
            return None
        try:
            return _checks_of(self._keys.open(sealed.encode("utf-8", "replace"), now=now).claims())
        except InvalidTokenError:
            return None

    def spent(self, state: str | None, *, path: str) -> list[bytes]:
        """The ``Set-Cookie`` values after which the flow can't be finished a second time."""
        flow = flow_of(state)
        return [] if flow is None else clear([self._name(flow)], self._at(path))

    def _name(self, flow: str | None) -> bytes:
        return f"{self._stem}.{flow}".encode("ascii")

    def _at(self, path: str) -> Attributes:
        given = self._attributes
        return Attributes(path=path, domain=given.domain, secure=given.secure, same_site=given.same_site)

    def _present(self, scope: Scope) -> dict[bytes, int]:
        """The flows' cookies in a request by name, with their sizes; the youngest first."""
        start, found = f"{self._stem}.", dict[bytes, int]()
        for key, header in scope["headers"]:
            if key.lower() != b"cookie":
                continue
            for pair in header.decode("latin-1").split(";"):
                name, _, value = pair.strip().partition("=")
                if name.startswith(start) and is_flow(name.removeprefix(start)):
                    found[name.encode("ascii")] = len(name) + len(value)
        return dict(sorted(found.items(), reverse=True))


def _surplus(present: Mapping[bytes, int], *, room: int) -> Iterable[bytes]:
    """Which cookies must go: a flow's name begins with its time, so the youngest come first."""
    for place, (name, size) in enumerate(present.items(), start=2):
        room -= size
        if place > MOST_FLOWS or room < 0:
            yield name


def _claims_of(checks: Checks) -> dict[str, Any]:
    claims = {
        "provider": checks.provider,
        "state": checks.state,
        "verifier": checks.verifier,
        "callback_url": checks.callback_url,
        "began": checks.began,
    }
    return claims if checks.nonce is None else claims | {"nonce": checks.nonce}


def _checks_of(claims: Mapping[str, Any]) -> Checks | None:
    """Claims that we sealed ourselves, maybe by another version."""
    texts = [claims.get(name) for name in ("provider", "state", "verifier", "callback_url")]
    began, nonce = claims.get("began"), claims.get("nonce")
    if not all(isinstance(text, str) for text in texts) or not isinstance(began, int | float):
        return None
    provider, state, verifier, callback_url = map(str, texts)
    return Checks(
        provider=provider,
        state=state,
        verifier=verifier,
        callback_url=callback_url,
        began=began,
        nonce=nonce if isinstance(nonce, str) else None,
    )
