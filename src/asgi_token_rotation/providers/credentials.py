"""Sign-in with a name and a password, or whatever else a form can ask, against your own back end."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..errors import ConfigurationError, CredentialsSignInError
from ..types import Field, RefreshFunction, SignIn

AuthorizeFunction: TypeAlias = Callable[[Mapping[str, str]], Awaitable[SignIn | None] | SignIn | None]

# The form's own fields (Auth.js contract, 4.2): they never reach authorize.
RESERVED_FIELDS = frozenset({"csrfToken", "callbackUrl", "json", "redirect", "redirectTo"})
_REFUSALS = (400, 401, 403, 422)


def _default_fields() -> dict[str, Field]:
    return {
        "username": Field(label="Username", autocomplete="username"),
        "password": Field(label="Password", type="password", autocomplete="current-password"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A provider whose ``authorize`` judges what a form sent, and whose ``refresh`` asks the back end for new tokens.

    ``authorize`` answers a SignIn, or None for wrong credentials; it may raise CredentialsSignInError(code="…"). An
    httpx error with status 400, 401, 403 or 422 counts as wrong credentials too.
    """

    authorize: AuthorizeFunction = field(repr=False)
    refresh: RefreshFunction | None = field(default=None, repr=False)
    fields: Mapping[str, Field] = field(default_factory=_default_fields)
    id: str = "credentials"
    name: str = "Credentials"
    type: Literal["credentials"] = "credentials"

    def __post_init__(self) -> None:
        if not callable(self.authorize):
            raise ConfigurationError(
                "Credentials.authorize is not callable: expected a function that takes the credentials."
            )
        if self.refresh is not None and not callable(self.refresh):
            raise ConfigurationError(
                "Credentials.refresh is not callable: expected a function that takes the token, or None."
            )
        if not isinstance(self.fields, Mapping) or not all(isinstance(name, str) for name in self.fields):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                'Credentials.fields is no mapping of names: expected {"username": Field(label=…)}.'
            )
        for name, form_field in self.fields.items():
            if name in RESERVED_FIELDS:
                raise ConfigurationError(
                    f"Credentials.fields has {name!r}, which is the sign-in form's own. Choose another name."
                )
            if not isinstance(form_field, Field):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(f"Credentials.fields[{name!r}] is no Field: expected Field(label=…, type=…).")

    async def sign_in(self, form: Mapping[str, str]) -> SignIn:
        """Who the form's credentials belong to. Raises CredentialsSignInError where ``authorize`` refuses them.

        Any other exception of ``authorize`` is the application's, and passes through.
        """
        credentials = {name: value for name, value in form.items() if name not in RESERVED_FIELDS}
        try:
            answer = self.authorize(credentials)
            result = await answer if inspect.isawaitable(answer) else answer
        except CredentialsSignInError:
            raise
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", None) in _REFUSALS:
                raise CredentialsSignInError from error
            raise
        if result is None:
            raise CredentialsSignInError
        if not isinstance(result, SignIn):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"authorize answered a {type(result).__name__}: expected a SignIn, or None for wrong credentials."
            )
        return result
