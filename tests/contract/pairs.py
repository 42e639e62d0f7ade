"""How theirs and ours may differ where a value alone does not say it: each takes both, and judges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


def same_place(theirs: Any, ours: Any) -> bool:
    """Browsers take both for the same URL: the origin alone gets its slash, and other characters are encoded."""
    if theirs is None or ours is None:
        return False
    encoded = theirs.replace("straße", "stra%C3%9Fe").replace("stra%c3%9fe", "stra%25c3%259fe")
    slashed = re.sub(r"(?<=:)ORIGIN$", "ORIGIN/", encoded)
    slashed = re.sub(r"(?<=%3A)ORIGIN(?=$|&)", "ORIGIN%2F", slashed)
    return ours in (encoded, re.sub(r"(?<=%3a)ORIGIN(?=;)", "ORIGIN%2f", slashed))


def with_place(form: str) -> str:
    """The form with a field for the place to come back to."""
    return form if "callbackUrl" in form else form.replace(" csrfToken", " callbackUrl:hidden csrfToken")


def absolute(theirs: Any, ours: Any) -> bool:
    """The same address with the origin in front."""
    return (
        isinstance(theirs, str)
        and theirs.startswith("/")
        and (ours == f"http:ORIGIN{theirs}" or same_place(f"http:ORIGIN{theirs}", ours))
    )


def without_session(calls: Sequence[str] | None) -> list[str]:
    """The calls but for those of the session callback."""
    return [call for call in calls or () if not call.startswith("session ")]


def sign_in_shown(theirs: Any, ours: Any) -> bool:
    """A sign-in, after which ours asks the session callback."""
    return any(" signIn " in call for call in theirs or ()) and theirs == without_session(ours)


def read_first(theirs: Any, ours: Any) -> bool:
    """Ours reads the session as at every request, and then does what theirs does."""
    read = [call.partition(" ")[0] for call in ours[:2]] if ours else []
    return bool(theirs) and read == ["jwt", "session"] and ours[0].endswith(" -") and ours[2:] == theirs


def instead(theirs: str, ours: str) -> Any:
    """Lists that are the same up to one line, which is this on either side; after it comes a poll or nothing."""

    def pair(real: Any, here: Any) -> bool:
        if not isinstance(real, list) or not isinstance(here, list):
            return False
        at = next((place for place, (one, other) in enumerate(zip(real, here, strict=False)) if one != other), -1)
        polls = [line for line in real[at + 1 :] + here[at + 1 :] if line not in ("200 null", "200 {}")]
        return at >= 0 and not polls and bool(re.fullmatch(theirs, real[at]) and re.fullmatch(ours, here[at]))

    return pair


def one_poll(*, fewer: bool) -> Any:
    """One side reads the session once more, at the end."""
    poll = "GET | /api/auth/session | content-type: application/json"
    return lambda theirs, ours: (theirs == [*ours, poll]) if fewer else ([*theirs, poll] == ours)


def own_words(theirs: Any, ours: Any) -> bool:
    """An exception's own words, as the client's error and in the url; ours is a code."""
    codes = {"the table of users is missing": "Configuration", "no verdict today": "AccessDenied"}
    if isinstance(theirs, str):
        return codes.get(theirs) == ours
    return bool(instead(r".*error=(the|no)%20.*", r".*error=(Configuration|AccessDenied).*")(theirs, ours))


def threw(theirs: Any, ours: Any) -> bool:
    """The client threw; with ours it has a result."""
    results = (None, 200, True, "http:ORIGIN/welcome", "http:ORIGIN/home")
    return theirs in (None, "TypeError is thrown", "SyntaxError is thrown") and ours in results


def with_absolute(theirs: Any, ours: Any) -> bool:
    """The last answer that the client made nothing of is one with an absolute url; then it may read the session."""
    urls = ('200 {"url":"http:ORIGIN/welcome"}', '200 {"url":"http:ORIGIN/home"}')
    return len(ours) - len(theirs) in (0, 1) and ours[len(theirs) - 1] in urls


def goes_on(theirs: Any, ours: Any) -> bool:
    """Theirs stays at loading; ours is authenticated again after that."""
    after = [state[:16] for state in ours[len(theirs) :]]
    return ours[: len(theirs)] == theirs and theirs[-1].startswith('["loading"') and after == ['["authenticated"']
