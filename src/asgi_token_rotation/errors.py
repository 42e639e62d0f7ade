"""Every exception of the package.

TokenRotationError
├── ConfigurationError (also ValueError)     an option is wrong; said at start-up
├── MiddlewareMissingError (also RuntimeError)  a helper was used where no middleware ran
├── NotSignedInError                         the connection has no session, or it has ended
├── ResponseStartedError (also RuntimeError) the cookie can't be changed any more
├── TokenExposedError                        a session callback tried to show the refresh token
├── RefreshError                             no valid access token can be had now; ``code`` is the session's error
│   ├── RefreshRejectedError                 the provider refuses this refresh token for good
│   └── RefreshUnavailableError              the provider can't answer now; ``retry_after`` seconds
├── SignInError                              a sign-in failed
│   └── CredentialsSignInError               wrong credentials; ``code`` reaches the sign-in page
├── CookieError                              a cookie can't be read or written
│   ├── InvalidTokenError                    not ours, damaged, or sealed by an unknown secret
│   │   └── ExpiredTokenError                ours, but over
│   └── CookieTooLargeError                  the token does not fit; says which claim is how large
└── StoreError                               the store can't answer now

No message carries a token, a secret or a cookie.
"""

from __future__ import annotations


class TokenRotationError(Exception):
    """The root: whatever this package raises on its own account."""


class ConfigurationError(TokenRotationError, ValueError):
    """An option is wrong. The message says what was wrong, what was expected and what to do."""


class MiddlewareMissingError(TokenRotationError, RuntimeError):
    """No TokenRotationMiddleware ran for this connection: it is missing, comes later, or skipped the request."""


class NotSignedInError(TokenRotationError):
    """The connection is anonymous, or its session has ended or is stale."""


class ResponseStartedError(TokenRotationError, RuntimeError):
    """The response's headers are sent, so the session cookie can't change any more."""


class TokenExposedError(TokenRotationError):
    """A ``session`` callback put the refresh token where the browser would see it."""


class RefreshError(TokenRotationError):
    """No valid access token can be had now. ``code`` is what ``session.error`` says."""

    def __init__(
        self, message: str = "The access token could not be refreshed.", *, code: str = "RefreshUnavailable"
    ) -> None:
        super().__init__(message)
        self.code = code


class RefreshRejectedError(RefreshError):
    """For ``refresh`` functions: the back end refuses this refresh token for good."""

    def __init__(
        self, message: str = "The refresh token was refused.", *, code: str = "RefreshAccessTokenError"
    ) -> None:
        super().__init__(message, code=code)


class RefreshUnavailableError(RefreshError):
    """For ``refresh`` functions: the back end can't answer now; ask again after ``retry_after`` seconds, if it said so."""

    def __init__(
        self,
        message: str = "The token endpoint is unavailable.",
        *,
        retry_after: float | None = None,
        code: str = "RefreshUnavailable",
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class SignInError(TokenRotationError):
    """A sign-in failed. ``code`` is the error page's code."""

    def __init__(self, message: str = "The sign-in failed.", *, code: str = "Configuration") -> None:
        super().__init__(message)
        self.code = code


class CredentialsSignInError(SignInError):
    """For ``authorize`` functions: wrong credentials. ``code`` reaches the sign-in page as ``?code=`` (Auth.js)."""

    def __init__(self, message: str = "The credentials were refused.", *, code: str = "credentials") -> None:
        super().__init__(message, code=code)


class CookieError(TokenRotationError):
    """A cookie can't be read or written."""


class InvalidTokenError(CookieError):
    """The text is not a token of ours: damaged, forged, or sealed by a secret or with an algorithm that we don't have."""


class ExpiredTokenError(InvalidTokenError):
    """The token is ours, and over."""


class CookieTooLargeError(CookieError):
    """The sealed token does not fit into the cookies that a browser and a front end carry."""


class StoreError(TokenRotationError):
    """The store can't answer now, or has no room left."""
