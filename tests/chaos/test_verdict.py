"""The verdict of a chaos run, from literal journals: a wrong excuse would hide what the suite is there to find."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.jar import Jar
from chaos.journal import Line
from chaos.sends import CUT, KILLED, STOPPED
from chaos.verdict import Verdict, judge

W0, W1 = 10, 11  # the workers' process ids


def at(when: float, event: str, **more: Any) -> Line:
    return {"at": when, "event": event} | more


def call(
    when: float, send: str, *, pid: int = W0, token: str = "7-0", status: int | None = 200, published: bool = True
) -> list[Line]:
    """A refresh by a worker: sent, received 0.1 s later, judged after 0.5, published after 1."""
    about = {"send": send, "family": token.split("-")[0]}
    mine = {"by": f"w{pid - 10}", "pid": pid}
    lines = [
        at(when, "sending", sent=f"mark of {token}", **about, **mine),
        at(when + 0.1, "received", token=token, worker=mine["by"], **about),
    ]
    if status is not None:
        lines.append(at(when + 0.5, "judged", token=token, status=status, new="new", **about))
    if published and status == 200:
        lines.append(at(when + 0.6, "tokens", new=f"mark after {send}", **about, **mine))
        lines.append(at(when + 1.0, "published", new=f"mark after {send}", family=about["family"], **mine))
    return lines


SOMETHING = [
    at(0.0, "signed in", browser="b0", family="1"),
    at(0.1, "response", browser="b0", what="me", worker="w0", status=200, error=None, waited=0.1, family="1"),
    *call(0.0, "other", token="1-0"),
]


def lost(when: float, how: str = "refused", family: str = "7") -> Line:
    return at(when, "wrong", how=how, family=family, what="me", worker="w1")


def verdict(*lines: Line, reuses: int | None = None) -> Verdict:
    return judge(sorted([*SOMETHING, *lines], key=lambda line: line["at"]), reuses=reuses)


def kill(when: float, pid: int = W0) -> Line:
    return at(when, "killed", worker=f"w{pid - 10}", pid=pid)


def stop(since: float, until: float, pid: int = W0) -> Line:
    return at(until, "stopped", worker=f"w{pid - 10}", pid=pid, began=since)


def test_one_send_each_is_fine() -> None:
    """A token that is sent once is no case, and the window between answer and publication is measured."""
    found = verdict(*call(1, "a"), *call(5, "b", token="7-1"))
    assert not found.cases
    assert found.twice.total() == 0
    assert found.rotations == 3
    assert found.window == pytest.approx([400.0] * 3)


def test_a_second_send_without_an_excuse_is_a_case() -> None:
    """R1: two workers that spend one token are in column (b), and so is the session that it costs."""
    found = verdict(*call(1, "a"), *call(1.2, "b", pid=W1, status=400), lost(3))
    assert [case.what.split(":")[0] for case in found.cases] == ["sent twice", "lost"]
    assert found.twice.total() == found.lost.total() == 0


def test_a_killed_owner_excuses_one_more_send() -> None:
    """An owner killed between sending and publishing excuses the take-over, and the session that it costs."""
    found = verdict(*call(1, "a", published=False), kill(1.7), *call(5, "b", pid=W1, status=400), lost(6))
    assert not found.cases
    assert found.twice == found.lost == {KILLED: 1}


def test_an_owner_that_had_published_is_no_excuse() -> None:
    """A death after the publication excuses nothing: the token was in the store."""
    found = verdict(*call(1, "a"), kill(2.5), *call(5, "b", pid=W1, status=400))
    assert found.unexcused("sent twice") == 1


def test_another_workers_death_is_no_excuse() -> None:
    """Only the owner's own death excuses a second send."""
    found = verdict(*call(1, "a", published=False), kill(1.7, W1), *call(5, "b", pid=12, status=400))
    assert found.unexcused("sent twice") == 1


def test_a_death_after_the_second_send_is_no_excuse() -> None:
    """The excuse must come before what it excuses."""
    found = verdict(*call(1, "a", published=False), *call(2, "b", pid=W1, status=400), kill(4))
    assert found.unexcused("sent twice") == 1


def test_a_second_send_at_once_after_a_death_is_no_excuse() -> None:
    """A claim may be taken over when its beat has stood still for a lease, so nobody can be that fast."""
    found = verdict(*call(1, "a", published=False), kill(1.7), *call(2, "b", pid=W1, status=400))
    assert found.unexcused("sent twice") == 1


def test_a_death_long_after_a_dropped_answer_is_no_excuse() -> None:
    """An answer that came and was never published is not excused by a death a minute later."""
    dropped = [line for line in call(1, "a") if line["event"] != "published"]
    found = verdict(*dropped, kill(60), *call(63, "b", pid=W1, status=400))
    assert found.unexcused("sent twice") == 1


def test_one_death_excuses_one_send_only() -> None:
    """Of three sends of one token, each but the last needs an excuse of its own."""
    twice = [*call(1, "a", published=False), kill(1.7), *call(5, "b", pid=W1, status=400)]
    found = verdict(*twice, *call(8, "c", pid=12, status=400))
    assert found.twice == {KILLED: 1}
    assert found.unexcused("sent twice") == 1


def test_a_cut_after_the_rotation_excuses_one_more_send() -> None:
    """A connection cut after the rotation excuses the attempt that follows, not one that came before the cut."""
    first = call(1, "a", published=False)
    cut = at(1.8, "cut", stage="after", send="a", token="7-0", family="7")
    assert verdict(*first, cut, *call(2, "b", status=400), lost(4)).lost == {CUT: 1}
    assert verdict(*first, cut, *call(1.5, "b", status=400)).unexcused("sent twice") == 1


def test_what_the_back_end_did_not_judge_was_not_spent() -> None:
    """After a 503, or a cut before the rotation, the token is sent again, and that is no second time."""
    failed = at(1.4, "failed", status=503, send="a", token="7-0", family="7")
    cut = at(2.4, "cut", stage="before", send="b", token="7-0", family="7")
    found = verdict(*call(1, "a", status=None), failed, *call(2, "b", status=None), cut, *call(3, "c"))
    assert not found.cases
    assert found.twice.total() == 0


def test_a_stop_for_a_lease_excuses_one_more_send() -> None:
    """An owner that stood still for a whole lease between sending and publishing may be taken for dead."""
    late = [*call(1, "a", published=False), at(7, "tokens", send="a", new="x", pid=W0, family="7")]
    late.append(at(7.1, "published", new="x", family="7", pid=W0))
    found = verdict(*late, stop(1.6, 6.8), *call(4.7, "b", pid=W1, status=400), lost(8))
    assert not found.cases
    assert found.twice == {STOPPED: 1}


@pytest.mark.parametrize(
    ("since", "until", "again"),
    [
        (1.6, 2.8, 4.7),  # shorter than the lease
        (1.6, 6.8, 2.0),  # taken over at once
        (2.1, 6.8, 5.5),  # after the publication
    ],
)
def test_other_stops_excuse_nothing(since: float, until: float, again: float) -> None:
    """A short stop, a take-over before the lease was over, or a stop after the publication excuses nothing."""
    found = verdict(*call(1, "a"), stop(since, until), *call(again, "b", pid=W1, status=400))
    assert found.unexcused("sent twice") == 1


def test_an_anonymous_browser_is_never_excused() -> None:
    """R3: a session that vanishes is lost for nothing, even where its family was revoked with an excuse."""
    killed = [*call(1, "a", published=False), kill(1.7), *call(5, "b", pid=W1, status=400)]
    assert verdict(*killed, lost(6, "anonymous")).unexcused("lost") == 1


def test_a_loss_before_the_second_send_is_not_excused_by_it() -> None:
    """A session that was refused before its token was sent again had another reason."""
    killed = [*call(1, "a", published=False), kill(1.7), *call(5, "b", pid=W1, status=400)]
    assert verdict(*killed, lost(4)).unexcused("lost") == 1
    assert verdict(*killed, lost(6, family="8")).unexcused("lost") == 1


def test_what_the_back_end_counted_must_be_in_the_journals() -> None:
    """A reuse that the back end saw and the journals do not show makes the run fail."""
    assert verdict(reuses=1).unexcused("miscounted") == 1
    assert not verdict(reuses=0).cases


def test_an_answer_of_5xx_is_a_case() -> None:
    """A status that nobody asked for makes the run fail, and so does a connection that broke at a living worker."""
    found = verdict(at(1, "wrong", how="status", status=503, what="me", worker="w0", family="1"))
    assert found.unexcused("5xx") == 1
    broken = at(3, "broken", what="me", error="ReadError", worker="w0", family="1", sent=2.5)
    assert verdict(broken).unexcused("broken") == 1
    assert verdict(broken, kill(2.8)).broken == 1
    assert verdict(broken, kill(2.8, W1)).unexcused("broken") == 1


def test_an_older_answer_may_overtake_a_sign_out_for_a_moment() -> None:
    """R5: a cookie that was on its way may still arrive; one that is written later is a case."""
    left = at(2, "signed out", browser="b0", family="1")
    late = {"browser": "b0", "what": "slow", "worker": "w1", "family": None, "sent": 1.5}
    assert verdict(left, at(2.5, "overtaken", **late)).overtaken == 1
    assert verdict(left, at(6, "overtaken", **late)).unexcused("overtaken") == 1
    assert verdict(left, at(6, "overtaken", **late), stop(1.6, 5.9, W1)).overtaken == 1


def test_an_ended_session_that_is_served_is_a_case() -> None:
    """I6: who was signed out is not served again, unless the store was away when the end had to be stored."""
    served = at(60, "wrong", how="signed out and served", family="1", ended=10.0)
    assert verdict(served).unexcused("wrong") == 1
    assert verdict(served, at(10.2, "store", what="stalled", began=9.5)).unexcused("wrong") == 1
    assert not verdict(served, at(10.2, "store", what="restarted", began=9.5)).cases
    assert not verdict(served, at(60.2, "store", what="restarted", began=59.5)).cases


def test_a_run_in_which_nothing_happened_fails() -> None:
    """A harness that does nothing must not look like success."""
    assert judge([]).unexcused("nothing") == 1


def test_the_jar_is_a_browsers() -> None:
    """The last cookie that arrives wins, Max-Age=0 removes, and the header before the last change is kept."""
    jar = Jar()
    assert jar.take(["s.0=a; Max-Age=60; Path=/", "s.1=b; Max-Age=60"])
    assert jar.take(["s=c; Path=/; Max-Age=60; HttpOnly", "s.0=; Max-Age=0", "s.1=; Max-Age=0"])
    assert jar.header == "s=c"
    assert jar.previous is not None
    assert jar.previous[0] == "s.0=a; s.1=b"
    assert not jar.take(["s=c; Path=/; Max-Age=60"])
    assert jar.changes == 2
