from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_token_rotation._cookies.jwe import KeyRing
from asgi_token_rotation._rotation import sealing
from asgi_token_rotation._rotation.record import Claim, Record
from asgi_token_rotation._rotation.sealing import RecordSeal, key_of, rank_of, session_name
from asgi_token_rotation.errors import InvalidTokenError
from asgi_token_rotation.stores.memory import rank_of as rank_of_value

OLD, NEW = "the old secret of the tests, long enough", "the new secret of the tests, long enough"
KEY = key_of("session")
TOKEN = {"sub": "1", "refresh_token": "r", "generation": 4, "roles": ["a", {"b": None}]}
RECORDS = {
    "empty": Record(),
    "live": Record(generation=4, since=3, before=(1, 12.5), token=TOKEN, until=99.5, published=5.25, delivered=6.0),
    "waits": Record(generation=1, since=1, retry_at=7.5, failures=3, kind="throttled"),
    "claimed": Record(state="claimed", generation=1, claim=Claim(owner="o", lease=6.5, beat=9)),
    "refused": Record(state="refused", generation=2, kind="refused", published=8.0),
    "ended": Record(state="ended", generation=2, reason="sign_out", at=1.5),
}
times = st.floats(-1e11, 1e11, allow_nan=False)
any_record = st.builds(
    Record,
    state=st.sampled_from(["live", "claimed", "refused", "ended"]),
    generation=st.integers(0, 2**53),
    since=st.integers(0, 2**53),
    before=st.none() | st.tuples(st.integers(0, 2**53), times),
    token=st.none() | st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.lists(st.text())),
    until=times,
    published=times,
    delivered=st.none() | times,
    retry_at=st.none() | times,
    failures=st.integers(0, 2**53),
    kind=st.none() | st.text(),
    claim=st.none() | st.builds(Claim, owner=st.text(), lease=times, beat=st.integers()),
    reason=st.none() | st.text(),
    at=times,
)


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_round_trip(record: Record) -> None:
    """What was sealed opens as it was."""
    seal = RecordSeal([NEW])

    assert seal.open(KEY, seal.seal(KEY, record)) == record


@given(any_record)
def test_any_record_round_trips(record: Record) -> None:
    """Whatever a record holds, it opens as it was, and its rank can be read by a store."""
    value = SEAL.seal(KEY, record)

    assert SEAL.open(KEY, value) == record
    assert rank_of_value(value)[0] in "kbe"


SEAL = RecordSeal([NEW])


def test_bytes_never_repeat() -> None:
    """A compare-and-set on bytes is exact, since no two seals are alike."""
    assert len({SEAL.seal(KEY, RECORDS["live"]) for _ in range(50)}) == 50


def test_no_token_reaches_the_store() -> None:
    """I7: The store sees neither token, nor name, nor state."""
    value = SEAL.seal(KEY, Record(token={"refresh_token": "very-secret"}, reason="sign_out"))

    assert b"very-secret" not in value
    assert b"sign_out" not in value


def test_secrets_roll_over() -> None:
    """C7: Any of the secrets opens a record; one sealed with a secret that is not here is unreadable, not lost."""
    old, both, new = RecordSeal([OLD]), RecordSeal([NEW, OLD]), RecordSeal([NEW])
    record = RECORDS["live"]

    assert both.open(KEY, old.seal(KEY, record)) == record
    assert new.open(KEY, both.seal(KEY, record)) == record
    with pytest.raises(InvalidTokenError):
        old.open(KEY, both.seal(KEY, record))


@pytest.mark.parametrize(
    "content",
    [
        {"a_new_field": 1},
        {"claim": {"owner": "o", "lease": 6, "mood": "good"}},
        {"claim": {}},
        {"before": [1]},
        {"before": 7},
        [],
        "text",
        None,
    ],
)
def test_a_newer_version(content: Any) -> None:
    """A record that a newer version wrote in another form is unreadable: nobody acts on half of it."""
    keys = KeyRing([NEW], salt=sealing._SEAL_SALT, info=sealing._SEAL_INFO)

    with pytest.raises(InvalidTokenError, match="newer version"):
        SEAL.open(KEY, b"k0:" + keys.seal_bytes(json.dumps(content).encode()))


@pytest.mark.parametrize("value", [b"", b":", b"k1:", b"no rank", b"k0:a.b.c.d.e", b"\xff" * 50])
def test_foreign_bytes(value: bytes) -> None:
    """Bytes that are no record of ours are unreadable."""
    with pytest.raises(InvalidTokenError):
        SEAL.open(KEY, value)


def test_a_cookies_key_opens_no_record() -> None:
    """A record is sealed under a key of its own, so a cookie can't be passed off as one."""
    cookie = KeyRing([NEW], salt="authjs.session-token", info="Auth.js Generated Encryption Key (authjs.session-token)")

    with pytest.raises(InvalidTokenError):
        SEAL.open(KEY, b"k0:" + cookie.seal_bytes(b"{}"))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (RECORDS["empty"], "k0"),
        (RECORDS["live"], "k100"),
        (RECORDS["claimed"], "k9999999999"),
        (replace(RECORDS["claimed"], token=TOKEN, until=5), "k9999999999"),
        (RECORDS["waits"], "b8"),
        (replace(RECORDS["waits"], token=TOKEN, until=5), "k5"),
        (RECORDS["refused"], "b8"),
        (replace(RECORDS["refused"], token=TOKEN, until=5), "k5"),
        (RECORDS["ended"], "e2"),
    ],
)
def test_ranks(record: Record, expected: str) -> None:
    """A full store never drops a claim or tokens that may not have arrived; it can tell marks, back-offs and ends."""
    assert rank_of(record) == expected
    assert SEAL.seal(KEY, record).startswith(expected.encode() + b":")


def test_keys() -> None:
    """A key says nothing of the session, needs no secret, and its name is 8 of its hex digits."""
    key = key_of("session")

    assert key == key_of("session") != key_of("another")
    assert len(key) <= 100
    assert key.isascii()
    assert key.startswith("asgi-token-rotation:")
    assert "session" not in key.removeprefix("asgi-token-rotation:")
    assert len(session_name(key)) == 8
    assert int(session_name(key), 16) >= 0
    assert len(key_of("\ud800")) == len(key)
