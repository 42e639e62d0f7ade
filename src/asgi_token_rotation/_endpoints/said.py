"""What log lines say of the application's exceptions."""

from __future__ import annotations

from .._log import where
from ..errors import ConfigurationError, CookieTooLargeError


def said(error: Exception) -> str:
    """Our own sentence where it helps to mend things; of anything else type and place, since its text may hold a token."""
    return str(error) if isinstance(error, ConfigurationError | CookieTooLargeError) else where(error)
