import asyncio

from auth import rotation
from twisted.internet import reactor
from twisted.internet.defer import Deferred


def finished() -> Deferred[None]:
    return Deferred.fromFuture(asyncio.ensure_future(rotation.aclose()))


reactor.addSystemEventTrigger("before", "shutdown", finished)

# For the matrix:

import importlib  # noqa: E402
import os  # noqa: E402

app = importlib.import_module(f"matrix.applications.{os.environ['MATRIX_APPLICATION']}").app
