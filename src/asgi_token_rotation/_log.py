"""The package's logger, and words for log lines that carry no token, secret or cookie."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger("asgi_token_rotation")


def where(error: BaseException) -> str:
    """An exception by its type and place. Its message stays out: it is other people's text and may hold a token."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{place}"


class Once:
    """Remembers which warnings were given."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def warn(self, topic: str, sentence: str) -> None:
        """Log the sentence the first time that the topic comes up."""
        if topic not in self._given:
            self._given.add(topic)
            logger.warning("%s", sentence)
