"""The frameworks, and what they are known not to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Framework:
    """A row of the table. Each of its limits is asserted, so that the run notices when one is gone."""

    name: str
    module: str  # in matrix.applications
    distributions: Sequence[str]  # whose versions the table names
    websocket: bool = True
    own_500: bool = True  # it answers a handler's exception itself, inside of the middleware
    needs_lifespan: bool = False  # it answers nothing before its lifespan has started
    leaves_with_client: bool = False  # it cancels the handler when the client hangs up
    needs_scheme: bool = False  # of a WebSocket
    needs_minor_version: bool = False  # of HTTP: "1.0", not "1"
    with_prefix: bool = True  # its routes match a path that begins with root_path
    without_prefix: bool = True  # its routes match a path that does not, though root_path is set


FRAMEWORKS = (
    Framework("Starlette", "starlette", ("starlette",)),
    Framework("FastAPI", "fastapi", ("fastapi",)),
    Framework("Litestar", "litestar", ("litestar",)),
    Framework("Quart", "quart", ("quart",), leaves_with_client=True, needs_scheme=True, without_prefix=False),
    Framework("Django", "django", ("django",), websocket=False, leaves_with_client=True),
    Framework("Django with Channels", "channels", ("django", "channels"), leaves_with_client=True),
    Framework("BlackSheep", "blacksheep", ("blacksheep",)),
    Framework("Falcon", "falcon", ("falcon",), needs_minor_version=True, with_prefix=False),
    Framework("Sanic", "sanic", ("sanic",), needs_lifespan=True, with_prefix=False),
    Framework("plain ASGI", "plain", (), own_500=False),
)
