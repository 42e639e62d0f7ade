"""What a chaos run is made of. The times are short, so that minutes hold what takes hours in the field."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

WORKER_SKEWS = (0.0, 10.0, -10.0, 4.0)  # seconds by which each worker's clock is wrong
ACCESS_TOKEN_LIFETIME = 6.0  # seconds
MARGIN = 2.0  # seconds
LEASE = 3.0  # seconds; a beat is due every third of it, and every short stall below is shorter than the rest
WAIT = 6.0  # seconds
TIMEOUT = 10.0  # seconds
GRACE = 30.0  # seconds: more than two workers' clocks differ, which judge it
UNDELIVERED = 600.0  # seconds
PUBLISH_FOR = 5.0  # seconds in which the package tries a publication again
LATE = 5.0  # seconds after which a browser does not use its previous cookie any more; GRACE less the skews covers it
OVERTAKING = 1.5  # seconds in which an answer on its way may overtake a sign-out (DESIGN: a look is good for one)
QUIET = 12.0  # seconds at the end without any fault
SECRET = "a secret for the chaos suite, not for anything else"
USERS = 12
BROWSERS = 40

LATENCY = (0.2, 2.5)  # seconds
SHORT_STALL = (0.2, 1.2)  # seconds; of a worker or the store
LONG_STALL = (LEASE + 1.0, LEASE + 3.0)  # seconds; of a worker


@dataclass(frozen=True, slots=True)
class Plan:
    """One run on one store."""

    store: str  # "redis", "sqlite" or "memory"
    seed: int
    seconds: float
    folder: Path
    browsers: int = BROWSERS
    workers: int = len(WORKER_SKEWS)
    faults: bool = True


def snapshot(folder: Path) -> Path:
    """A copy of the code as it is now, so that a worker which is started again is the same although somebody edits."""
    tests = Path(__file__).resolve().parent.parent
    code = folder / "code"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(tests / "chaos", code / "chaos", ignore=ignored)
    shutil.copytree(tests.parent / "src" / "asgi_token_rotation", code / "asgi_token_rotation", ignore=ignored)
    return code
