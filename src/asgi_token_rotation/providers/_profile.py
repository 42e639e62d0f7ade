"""From what a provider says of somebody to the user: pure, but for the application's own ``profile`` function."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from ..errors import SignInError
from ..types import TokenSet
from .oauth2 import ProfileFunction

MAX_ID = 256  # characters


def default_profile(document: Mapping[str, Any]) -> dict[str, Any]:
    """``sub``, or ``id``, as the id; ``name``, ``email``; ``picture`` as the image (OpenID Connect Core, 5.1)."""
    subject = document.get("sub", document.get("id"))
    user: dict[str, Any] = {"id": subject}
    for key, claim in (("name", "name"), ("email", "email"), ("image", "picture")):
        if isinstance(document.get(claim), str):
            user[key] = document[claim]
    return user


async def user_of(profile: ProfileFunction | None, document: Mapping[str, Any], tokens: TokenSet) -> dict[str, Any]:
    """The user, with ``id`` as a text and the e-mail address in lower case (Auth.js contract, 5.1).

    SignInError with ``no_user_id`` where there is no id; exceptions of ``profile`` are the application's, and pass.
    """
    made = default_profile(document) if profile is None else profile(document, tokens)
    answer = cast("object", await made if inspect.isawaitable(made) else made)
    if not isinstance(answer, Mapping):
        raise SignInError(f"profile answered a {type(answer).__name__}: expected a mapping.", code="no_user_id")
    user = dict(cast("Mapping[str, Any]", answer))
    user["id"] = _id(user.get("id"))
    if isinstance(user.get("email"), str):
        user["email"] = user["email"].lower()
    return user


def _id(value: object) -> str:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not 0 < len(text) <= MAX_ID or not text.isprintable():
        raise SignInError(
            f"The user has no id: expected a text or a whole number, of {MAX_ID} characters at most. Give the provider a"
            " profile function that finds it.",
            code="no_user_id",
        )
    return text
