"""Litestar builds its middlewares once per route handler: how to notice that without importing it."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

_FAR_ENOUGH = 200  # applications looked at; a stack of middlewares has a handful

PER_ROUTE = (
    "Litestar makes a middleware for each of its route handlers, and with options each would have a runtime of its own."
    " Make one TokenRotation(…), and use Litestar(plugins=[TokenRotationPlugin(rotation)]) or"
    " DefineMiddleware(TokenRotationMiddleware, rotation=rotation)."
)


def serves_one_route(app: Any) -> bool:
    """Whether the application that a middleware gets ends in a single Litestar route, instead of a whole application.

    It does where some wrapped application is a method of a route, ``litestar.routes.…Route.handle``. Wrapping
    ``Litestar(…)`` itself, or its ``asgi_handler``, ends in its router.
    """
    waiting, seen = [app], set[int]()
    while waiting and len(seen) < _FAR_ENOUGH:
        candidate = waiting.pop()
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        owner = getattr(candidate, "__self__", None)
        if owner is not None and type(owner).__module__.startswith("litestar.routes"):
            return True
        if not type(candidate).__module__.startswith("litestar._asgi."):  # its router knows its application
            waiting.extend(_wrapped_by(candidate))
    return False


def _wrapped_by(app: Any) -> Iterator[Any]:
    """What an application wraps: its ``app`` by custom, and what a function has closed over."""
    inner = getattr(app, "app", None)
    if inner is not None:
        yield inner
    if isinstance(app, FunctionType):
        for cell in app.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            if callable(content):
                yield content
