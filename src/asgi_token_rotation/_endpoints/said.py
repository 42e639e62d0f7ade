"""What log lines say of the application's exceptions."""

from __future__ import annotations

from .._log import where
from ..errors import ConfigurationError, CookieTooLargeError, TokenExposedError


def said(error: Exception) -> str:
    """Our own sentence where it helps to mend things; of anything else type and place, since its text may hold a token."""
    ours = isinstance(error, ConfigurationError | CookieTooLargeError | TokenExposedError)
    return str(error) if ours else where(error)
