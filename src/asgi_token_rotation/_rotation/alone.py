"""What stands in for the ledger while the store is out of reach: what this process knows, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from .ledger import Change, Entry, Ledger
from .record import Record


class Alone:
    """Reads and changes what this process knows. For ``store_failure="degrade"``; it never fails and never waits."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def known(self, key: str) -> Record | None:
        """The newest record of the session that this process has seen."""
        return self._ledger.known(key)

    def learn(self, key: str, record: Record) -> None:
        """Remember a record, unless something newer is known."""
        self._ledger.learn(key, record)

    def hold(self, key: str, owner: str) -> None:
        """Nobody else sees a claim of one process alone, so it needs no beat."""

    def let_go(self, key: str, owner: str) -> None:
        """As above."""

    async def read(self, key: str) -> Entry:
        """What this process knows."""
        return Entry(self.known(key), None)

    async def replace(self, key: str, entry: Entry, record: Record) -> Entry | None:
        """The new entry if the old one still stood there, else None."""
        if self.known(key) != entry.record:
            return None
        self.learn(key, record)
        return Entry(record, None)

    async def change(
        self, key: str, transition: Callable[[Record | None], Record | None], *, entry: Entry | None = None
    ) -> Change:
        """Make a transition on what this process knows."""
        known = self.known(key)
        record = transition(known)
        if record is None:
            return Change(made=False, record=known)
        self.learn(key, record)
        return Change(made=True, record=record)
