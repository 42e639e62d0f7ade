from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from asgi_token_rotation import ConfigurationError, Credentials, CredentialsSignInError, Field, SignIn, TokenSet
from asgi_token_rotation.providers.credentials import RESERVED_FIELDS

ADA = SignIn(user={"id": "1", "name": "Ada"})
FORM = {"username": "ada", "password": "secret"}


async def refresh(_: Any) -> TokenSet:
    return TokenSet("access")


def answering(answer: Any) -> Credentials:
    def authorize(_: Mapping[str, str]) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Credentials(authorize=authorize)


def status_error(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://back-end.example/login")
    return httpx.HTTPStatusError("…", request=request, response=httpx.Response(status, request=request))


async def test_signs_in() -> None:
    """What ``authorize`` answers is who signs in, whether it is sync or async."""

    async def authorize(_: Mapping[str, str]) -> SignIn:
        return ADA

    assert await answering(ADA).sign_in(FORM) is ADA
    assert await Credentials(authorize=authorize).sign_in(FORM) is ADA


async def test_the_forms_own_fields_stay_out() -> None:
    """``csrfToken``, ``callbackUrl``, ``json`` and ``redirect`` never reach ``authorize``."""
    seen: list[dict[str, str]] = []

    def authorize(credentials: Mapping[str, str]) -> SignIn:
        seen.append(dict(credentials))
        return ADA

    form = dict.fromkeys(RESERVED_FIELDS, "x") | FORM | {"tenant": "t"}
    await Credentials(authorize=authorize).sign_in(form)

    assert seen == [FORM | {"tenant": "t"}]
    assert {"csrfToken", "callbackUrl", "json", "redirect"} <= RESERVED_FIELDS


async def test_wrong_credentials() -> None:
    """None is a failed sign-in."""
    with pytest.raises(CredentialsSignInError) as caught:
        await answering(None).sign_in(FORM)

    assert caught.value.code == "credentials"


async def test_an_own_code() -> None:
    """The code of an own error reaches the caller."""
    with pytest.raises(CredentialsSignInError) as caught:
        await answering(CredentialsSignInError(code="locked")).sign_in(FORM)

    assert caught.value.code == "locked"


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_a_refusing_back_end(status: int) -> None:
    """A back end that refuses the credentials is a failed sign-in, not a server error."""
    with pytest.raises(CredentialsSignInError):
        await answering(status_error(status)).sign_in(FORM)


@pytest.mark.parametrize(
    "error", [status_error(500), status_error(404), status_error(429), httpx.ConnectError("…"), KeyError("x")]
)
async def test_any_other_error(error: Exception) -> None:
    """Any other exception is the application's and passes through: nobody's password was wrong."""
    with pytest.raises(type(error)):
        await answering(error).sign_in(FORM)


@pytest.mark.parametrize("answer", [{"id": "1"}, True, "ada"])
async def test_no_sign_in(answer: Any) -> None:
    """An ``authorize`` that answers something else is told what was expected."""
    with pytest.raises(ConfigurationError, match="expected a SignIn"):
        await answering(answer).sign_in(FORM)


def test_what_it_is() -> None:
    """Providers are data, and the usual one needs nothing but ``authorize``."""
    provider = answering(ADA)

    assert (provider.id, provider.name, provider.type, provider.refresh) == (
        "credentials",
        "Credentials",
        "credentials",
        None,
    )
    assert [(name, field.label, field.type) for name, field in provider.fields.items()] == [
        ("username", "Username", "text"), ("password", "Password", "password"),
    ]  # fmt: skip
    assert Credentials(authorize=lambda _: None, refresh=refresh).refresh is refresh


def test_fields_are_not_shared() -> None:
    """Two providers have fields of their own."""
    assert answering(ADA).fields is not answering(ADA).fields


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"authorize": None}, "authorize is not callable"),
        ({"refresh": "url"}, "refresh is not callable"),
        ({"fields": {"csrfToken": Field(label="x")}}, "form's own"),
        ({"fields": {"name": "Name"}}, "is no Field"),
        ({"fields": ["name"]}, "no mapping"),
        ({"fields": {1: Field(label="x")}}, "no mapping"),
    ],
)
def test_wrong_options(options: dict[str, Any], sentence: str) -> None:
    """A wrong option is refused at start-up, with a sentence."""
    with pytest.raises(ConfigurationError, match=sentence):
        Credentials(**{"authorize": lambda _: None, **options})
