"""Tells the application what happened."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from ._log import logger, where
from ._rotation.single_flight import PerLoop, Tasks
from .types import Event, EventHandler, Events


def emitter(events: Events, tasks: PerLoop[Tasks]) -> Callable[[Event], None]:
    """A function that hands an event to its handler: sync ones at once, async ones in the background.

    Nobody waits for a handler, and its exceptions are logged.
    """

    def emit(event: Event) -> None:
        handler: EventHandler | None = getattr(events, event.name)
        if handler is None:
            return
        try:
            answer = handler(event)
        except Exception as error:  # noqa: BLE001 the handler is the application's, the rotation is ours
            _report(event, error)
            return
        if inspect.isawaitable(answer):
            tasks.get().spawn(_awaited(event, answer))

    return emit


async def _awaited(event: Event, answer: Awaitable[None]) -> None:
    try:
        await answer
    except Exception as error:  # noqa: BLE001 as above
        _report(event, error)


def _report(event: Event, error: Exception) -> None:
    logger.error("The handler of the event %s failed: %s", event.name, where(error))
