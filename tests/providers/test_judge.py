from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import Any

import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_token_rotation.errors import RefreshError, RefreshRejectedError, RefreshUnavailableError
from asgi_token_rotation.providers.base import LONGEST_RETRY_AFTER, Failure, judge, judge_response, retry_after

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
LIBRARIES = [httpx, httpx2]


def error_of(status: int, body: Any = b"", headers: dict[str, str] | None = None, *, library: Any = httpx) -> Exception:
    """The exception that ``raise_for_status`` raises for such an answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = library.Request("POST", "https://provider.example/token")
    response = library.Response(status, content=content, headers=headers, request=request)
    try:
        response.raise_for_status()
    except library.HTTPStatusError as error:
        return error  # type: ignore[no-any-return]
    raise AssertionError(status)


def oauth(code: str) -> dict[str, str]:
    return {"error": code, "error_description": "…"}


HTML = b"<!doctype html><title>Bad gateway</title>"
DOUBT = Failure("refused", doubtful=True)
REFUSED, UNAVAILABLE, MISCONFIGURED = Failure("refused"), Failure("unavailable"), Failure("misconfigured")
OPERATORS = ("invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type")
ANSWERS: list[tuple[int, Any, Failure]] = [
    # invalid_grant at any 4xx (Auth0 answers 403)
    *((status, oauth("invalid_grant"), REFUSED) for status in (400, 401, 403, 404, 409, 422, 429)),
    # 400 and 401 with a JSON body that names no other OAuth error
    (400, {"message": "Unknown refresh token"}, REFUSED),
    (401, {"detail": "Token is invalid or expired", "code": "token_not_valid"}, REFUSED),
    (400, {"error": {"code": 400, "message": "API key"}}, REFUSED),
    (400, {"error": ["invalid_grant"]}, REFUSED),
    (400, {"error": None}, REFUSED),
    (401, {"error": 17}, REFUSED),
    (401, {}, REFUSED),
    (401, [], REFUSED),
    (400, "refused", REFUSED),
    (400, oauth("token_expired"), REFUSED),
    (400, oauth("interaction_required"), REFUSED),
    # empty, not JSON, or invalid_request (glewlwyd, LemonLDAP::NG)
    *((status, body, DOUBT) for status in (400, 401, 403, 422) for body in (b"", HTML, b"\xff\xfe", oauth("invalid_request"))),
    (400, b"[" * 100_000, DOUBT),
    (400, b'"' + b"x" * 70_000 + b'"', DOUBT),
    (400, b"9" * 10_000, DOUBT),
    # the operator's fault (O5)
    *((status, oauth(code), MISCONFIGURED) for status in (400, 401, 403) for code in OPERATORS),
    (404, b"", MISCONFIGURED),
    (404, HTML, MISCONFIGURED),
    (404, {"message": "no such route"}, MISCONFIGURED),
    # 5xx, 408, and whatever else
    *((status, body, UNAVAILABLE) for status in (408, 500, 502, 503, 504, 599) for body in (b"", HTML, oauth("server_error"))),
    (500, oauth("invalid_grant"), UNAVAILABLE),
    (500, oauth("internal_server_error"), UNAVAILABLE),
    (503, oauth("invalid_client"), UNAVAILABLE),
    (400, oauth("temporarily_unavailable"), UNAVAILABLE),
    (400, oauth("server_error"), UNAVAILABLE),
    (400, oauth("slow_down"), UNAVAILABLE),
    (403, oauth("access_denied"), UNAVAILABLE),
    (403, {"message": "no"}, UNAVAILABLE),
    (422, {"detail": []}, UNAVAILABLE),
    (405, b"", UNAVAILABLE),
    (410, b"", UNAVAILABLE),
    (415, {"code": "UNSUPPORTED_MEDIA_TYPE"}, UNAVAILABLE),
    (301, b"", UNAVAILABLE),
    # throttled
    (429, b"", Failure("throttled")),
    (429, {"message": "Too many requests. Please try again later."}, Failure("throttled")),
]  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
def test_answers(status: int, body: Any, expected: Failure, library: Any) -> None:
    """O1, O5: What an error answer means goes by the table, through httpx and httpx2 alike."""
    assert judge(error_of(status, body, library=library), now=NOW) == expected


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {"Retry-After": "30"}, Failure("throttled", retry_after=30)),
        (429, {"X-Retry-After": "60"}, Failure("throttled", retry_after=60)),
        (429, {"retry-after": "0"}, Failure("throttled", retry_after=0)),
        (503, {"Retry-After": "120"}, Failure("unavailable", retry_after=120)),
        (429, {"Retry-After": "7200"}, Failure("throttled", retry_after=3600)),
        (429, {"Retry-After": "soon"}, Failure("throttled")),
    ],
)
def test_waits(status: int, headers: dict[str, str], expected: Failure, library: Any) -> None:
    """A provider that says when to come back is not asked before, an hour at most."""
    assert judge(error_of(status, headers=headers, library=library), now=NOW) == expected


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ConnectError", "unavailable"),
        ("ConnectTimeout", "unavailable"),
        ("PoolTimeout", "unavailable"),
        ("ProxyError", "unavailable"),
        ("UnsupportedProtocol", "unavailable"),
        ("ReadError", "ambiguous"),
        ("WriteError", "ambiguous"),
        ("CloseError", "ambiguous"),
        ("ReadTimeout", "ambiguous"),
        ("WriteTimeout", "ambiguous"),
        ("NetworkError", "ambiguous"),
        ("TimeoutException", "ambiguous"),
        ("RemoteProtocolError", "ambiguous"),
        ("LocalProtocolError", "ambiguous"),
        ("TransportError", "ambiguous"),
    ],
)
def test_transport_errors(name: str, kind: str, library: Any) -> None:
    """Before sending nothing happened; from sending on nobody can know whether the provider rotated."""
    failure = judge(getattr(library, name)("…"), now=NOW)

    assert (failure.kind, failure.doubtful, failure.unexpected) == (kind, False, False)


@pytest.mark.parametrize(
    ("error", "kind", "unexpected"),
    [
        (TimeoutError(), "ambiguous", False),
        (asyncio.CancelledError(), "ambiguous", False),
        (ConnectionResetError(), "ambiguous", False),
        (BrokenPipeError(), "ambiguous", False),
        (asyncio.IncompleteReadError(b"", 5), "ambiguous", False),
        (ConnectionRefusedError(), "unavailable", False),
        (socket.gaierror(), "unavailable", False),
        (ssl.SSLError(), "unavailable", False),
        (OSError(), "unavailable", False),
        (json.JSONDecodeError("…", "", 0), "unavailable", True),
        (KeyError("accessToken"), "unavailable", True),
        (ValueError(), "unavailable", True),
        (RecursionError(), "unavailable", True),
        (RefreshError(), "unavailable", True),
    ],
)
def test_other_errors(error: BaseException, kind: str, *, unexpected: bool) -> None:
    """Any other exception of a refresh function is unavailable, and worth a loud log where no rule knows it."""
    failure = judge(error, now=NOW)

    assert (failure.kind, failure.unexpected, failure.retry_after) == (kind, unexpected, None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RefreshRejectedError(), Failure("refused")),
        (RefreshUnavailableError(), Failure("unavailable")),
        (RefreshUnavailableError(retry_after=90), Failure("throttled", retry_after=90)),
        (RefreshUnavailableError(retry_after=-5), Failure("throttled", retry_after=0)),
        (RefreshUnavailableError(retry_after=90_000), Failure("throttled", retry_after=3600)),
        (RefreshUnavailableError(retry_after=float("nan")), Failure("unavailable")),
        (RefreshUnavailableError(retry_after="90"), Failure("unavailable")),  # type: ignore[arg-type]
    ],
)
def test_our_own_errors(error: Exception, expected: Failure) -> None:
    """A refresh function says more by our own errors, and even a wrong word in them harms nobody."""
    assert judge(error, now=NOW) == expected


def test_a_streamed_answer_that_nobody_read() -> None:
    """Where the body was not read, what it said is unknown: a 400 is doubtful."""
    request = httpx.Request("POST", "https://provider.example/token")
    response = httpx.Response(400, stream=httpx.ByteStream(b'{"error":"invalid_grant"}'), request=request)

    assert judge(httpx.HTTPStatusError("…", request=request, response=response), now=NOW) == DOUBT


class RaisingError(Exception):
    """Its attributes raise."""

    @property
    def response(self) -> Any:
        raise RuntimeError("no response was set")


class OddError(Exception):
    """Carries a response of another library."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.response = response


class OddResponse:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RaisingError(), Failure("unavailable", unexpected=True)),
        (OddError(None), Failure("unavailable", unexpected=True)),
        (OddError("text"), Failure("unavailable", unexpected=True)),
        (OddError(OddResponse(status_code="400")), Failure("unavailable", unexpected=True)),
        (OddError(OddResponse(status_code=503)), UNAVAILABLE),
        (OddError(OddResponse(status_code=429, headers=None)), Failure("throttled")),
        (OddError(OddResponse(status_code=429, headers={"retry-after": 30})), Failure("throttled")),
        (OddError(OddResponse(status_code=400, headers={}, content='{"error":"invalid_grant"}')), REFUSED),
        (OddError(OddResponse(status_code=400, headers={}, content=5)), DOUBT),
    ],
)
def test_odd_errors(error: Exception, expected: Failure) -> None:
    """Whatever an exception looks like, judging it raises none."""
    assert judge(error, now=NOW) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("5.5", 5.5),
        (" 5 ", 5),
        ("-5", 0),
        ("1e9", LONGEST_RETRY_AFTER),
        ("inf", LONGEST_RETRY_AFTER),
        ("nan", None),
        ("", None),
        ("tomorrow", None),
        ("Fri, 15 Jan 2027 08:01:30 GMT", 90),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Fri, 15 Jan 2999 08:00:00 GMT", LONGEST_RETRY_AFTER),
        ("Fri, 99 Jan 2027 08:00:00 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    """Retry-After is seconds or a date (RFC 9110, 10.2.3); what can't be read was not said."""
    assert retry_after({"retry-after": text}, now=NOW) == seconds


def test_retry_after_comes_first() -> None:
    """The standard header beats the other."""
    assert retry_after({"retry-after": "1", "x-retry-after": "2"}, now=NOW) == 1
    assert retry_after({}, now=NOW) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "x"]), inner),
    max_leaves=8,
)
BODIES = st.none() | st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode())


@given(st.integers(100, 999), BODIES, st.text(max_size=40))
def test_no_answer_is_too_odd(status: int, body: bytes | None, header: str) -> None:
    """Any status, body and header is judged, and only a 4xx can refuse a session."""
    failure = judge_response(status, {"retry-after": header}, body, now=NOW)

    assert failure.kind in ("refused", "unavailable", "throttled", "misconfigured")
    assert failure.kind not in ("refused", "misconfigured") or 400 <= status < 500
    assert failure.retry_after is None or 0 <= failure.retry_after <= LONGEST_RETRY_AFTER
