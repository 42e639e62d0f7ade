"""The store's protocol: where workers meet.

A store only compares and sets; every rule of the rotation lives above it. It never sees a token: values are sealed.

A value starts with a *rank*, one ASCII letter and a decimal number of seconds since the epoch, ended by a colon
(``k1795461718:…``). A bounded store may drop records by it when it is full, and only then:

- ``k`` keep: until that time the record holds tokens that may not have reached the browser, or a call to the provider
  is under way; after that time it is a mark, and may be dropped first;
- ``b`` a provider's back-off or refusal; may be dropped second;
- ``e`` a session's end, at that time; may be dropped last, oldest first.

What is dropped is a promise less: a mark keeps a replayed cookie from the provider, an end keeps a session ended.
"""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Compare and set, atomic for all workers that share it. Raise any exception where the store can't answer.

    Keys are ASCII text of at most 100 characters, values at most 64 KiB. ``ttl`` is housekeeping: the seconds after
    which the store may forget the record. A record must not be forgotten earlier, save as the module's text says.
    """

    async def get(self, key: str) -> bytes | None:
        """The record's bytes as last set, or None where there is none."""
        ...

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        """Set ``value`` for ``ttl`` seconds and answer True if the record is ``expected`` now (None: absent); else False."""
        ...

    async def delete(self, key: str) -> None:
        """Forget the record; absent is fine."""
        ...

    async def aclose(self) -> None:
        """Let go of connections. Calling it twice is fine."""
        ...


class WaitableStore(Store, Protocol):
    """A store that can wake who waits for a record. Optional: without ``wait`` the waiters read again and again.

    It saves time and reads, and nothing depends on it: whoever was woken, and whoever was not, reads the record again
    and decides by that. So news may be lost, doubled or invented.
    """

    async def wait(self, key: str, timeout: float) -> None:  # noqa: ASYNC109 no failure, an end
        """Return when the record may have changed since the caller read it, at the latest after ``timeout`` seconds.

        Returning earlier, for no reason, is fine and costs one read; so a store that can't hear changes at the moment
        returns after a fraction of a second. It must not return at once for as long as that lasts.

        A change between the caller's read and the moment in which the store begins to listen may go unnoticed:
        callers make the first wait for a record a short one. A store that goes on listening for a second or so after a
        wait, and answers the next one at once if there was a change in between, loses nothing after that.

        Several callers may wait for one record, and each may be cancelled. Exceptions count as no news.
        """
        ...
