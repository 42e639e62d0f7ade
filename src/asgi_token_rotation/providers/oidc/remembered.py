"""A document of a provider: asked for once for all who need it, kept for a while, and asked for again when it is old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from ..._log import logger
from ..._loops import PerLoop
from ...errors import RefreshUnavailableError, SignInError
from .._http import AnswerTooLongError, ProviderHttp, Request
from .._token_endpoint import asked, told
from ..base import judge

T = TypeVar("T")

FRESH: Final = 3600.0  # seconds after which a document is asked for again
LONGEST: Final = 86_400.0  # seconds for which an old one serves where the provider does not answer
COOL_DOWN: Final = 30.0  # seconds after an attempt that failed, or that a doubt caused, until the next one
AFTER_FAILURE: Final = 5.0  # seconds for which a failure without an old document stands for all


class Remembered(Generic[T]):
    """``fetch`` raises SignInError. ``timeout``: seconds for one attempt. ``what``: for codes and the log."""

    def __init__(
        self, fetch: Callable[[], Awaitable[T]], *, what: str, clock: Callable[[], float], timeout: float
    ) -> None:
        self._fetch = fetch
        self._what = what
        self._clock = clock
        self._timeout = timeout
        self._turns = PerLoop(lambda: asyncio.Semaphore(1))
        self._value: T | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._failure: SignInError | None = None
        self._doubted = False

    @property
    def known(self) -> T | None:
        """What was fetched last. Asks nobody."""
        return self._value

    def doubt(self) -> None:
        """What is kept lacks something: the next ``get`` asks again, unless that was done a moment ago."""
        self._doubted = True
        self._fetched_at = min(self._fetched_at, self._clock() - FRESH)

    async def get(self) -> T:
        """The document, asked for if need be. SignInError where there is none to be had."""
        if self._value is not None and self._within(self._fetched_at, FRESH):
            return self._value
        async with self._turns.get():  # who comes later finds what came of the first one's attempt
            if self._value is not None and self._within(self._fetched_at, FRESH):
                return self._value
            old = self._value if self._within(self._fetched_at, LONGEST + FRESH) else None
            if old is not None and self._within(self._tried_at, COOL_DOWN):
                return old
            if old is None and self._failure is not None and self._within(self._tried_at, AFTER_FAILURE):
                raise SignInError(str(self._failure), code=self._failure.code)
            return await self._attempt(old)

    async def _attempt(self, old: T | None) -> T:
        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(self._timeout):
                value = await self._fetch()
        except TimeoutError:
            failure = SignInError("The provider did not answer in time.", code=f"{self._what}_timeout")
        except SignInError as error:
            failure = error
        else:
            self._value, self._failure, self._fetched_at = value, None, self._clock()
            if not self._doubted:
                self._tried_at = float("-inf")  # the first doubt is to be looked into at once
            self._doubted = False
            return value
        self._failure = failure
        if old is None:
            raise failure
        logger.warning("The %s of a provider could not be asked for again (%s): %s", self._what, failure.code, failure)
        return old

    def _within(self, since: float, seconds: float) -> bool:
        return 0 <= self._clock() - since < seconds


async def document_at(url: str, *, http: ProviderHttp, what: str, now: float) -> Mapping[str, Any]:
    """The JSON object at an address. SignInError, with ``what`` and the kind of failure as its code."""
    try:
        return await asked(http, Request(method="GET", url=url, headers={}))
    except TimeoutError:
        raise
    except AnswerTooLongError as error:
        raise SignInError(str(error), code=f"{what}_too_long") from error
    except RefreshUnavailableError as error:
        raise SignInError(str(error), code=f"{what}_unavailable") from error
    except Exception as error:
        kind = judge(error, now=now).kind
        code = "misconfigured" if kind in ("misconfigured", "refused") else "unavailable"
        raise SignInError(f"The provider was asked in vain: {told(error)}", code=f"{what}_{code}") from error
