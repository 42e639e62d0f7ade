"""The package's logger, and words for log lines that carry no token, secret or cookie."""

from __future__ import annotations

import logging
import traceback
from collections import Counter

from .errors import ConfigurationError
from .types import TokenSet

logger = logging.getLogger("asgi_token_rotation")


def where(error: BaseException) -> str:
    """An exception by type and place, and by its message where that is a sentence of ours about a wrong option or value."""
    return f"{_place(error)}: {error}" if _is_our_sentence(error) else _place(error)


def _place(error: BaseException) -> str:
    """An exception by its type and place. Its message stays out: it is other people's text and may hold a token."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{place}"


class Once:
    """Remembers which warnings were given, and how often something was looked at. Topics are few and ours."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._looks: Counter[str] = Counter()

    def first(self, topic: str, times: int) -> bool:
        """Whether the topic comes up for one of the first times, and its warning was not given: a look has its price."""
        if topic in self._given or self._looks[topic] >= times:
            return False
        self._looks[topic] += 1
        return True

    def warn(self, topic: str, sentence: str) -> None:
        """Log the sentence the first time that the topic comes up."""
        if topic not in self._given:
            self._given.add(topic)
            logger.warning("%s", sentence)


def _is_our_sentence(error: BaseException) -> bool:
    if isinstance(error, ConfigurationError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = None if trace is None else trace.tb_frame.f_globals.get("__name__")
    # A ValueError that TokenSet itself raised names a field and its kind, and shows no value but a number of seconds. A
    # TypeError about a callback's answer names the callback, and the kind of what it answered.
    return (type(error), raised_in) in ((ValueError, TokenSet.__module__), (TypeError, f"{__package__}._user_code"))
