"""Every refresh token that was sent, joined from the journals of both ends, and what excuses a second time: pure.

A refresh token may come twice only where its owner could not know, or could not tell, what became of the first time:

- it was killed after it had sent and before it had published;
- its connection was cut after the rotation;
- it was stopped for a whole lease between sending and publishing, so others had to take it for dead.

The excuse must lie between the first time and the second, and be that very owner's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaos.journal import Line
from chaos.settings import LEASE, PUBLISH_FOR

KILLED = "owner killed between sending and publishing"
CUT = "connection cut after the rotation"
STOPPED = "owner stopped for longer than the lease"
SLACK = 0.25  # seconds between what happened and the line about it


@dataclass(slots=True)
class Send:
    """One refresh call. ``token`` is the back end's name for it; times are None for what never happened."""

    id: str
    family: str = ""
    worker: str = ""
    pid: int | None = None
    sending: float = 0.0
    token: str | None = None  # None: it never arrived
    received: float | None = None
    judged: float | None = None  # the back end rotated or refused; before that it did nothing
    status: int | None = None
    cut: float | None = None  # after the rotation
    tokens: float | None = None  # the worker had the answer
    concluded: float | None = None  # the worker had published, or given up
    published: float | None = None


@dataclass(frozen=True, slots=True)
class Second:
    """A refresh token that the back end judged once more, and why; ``cause`` None: nothing excuses it."""

    first: Send
    again: Send
    cause: str | None


def sends_in(lines: Sequence[Line]) -> list[Send]:
    """All calls, in order of time."""
    sends: dict[str, Send] = {}
    by_mark: dict[tuple[str, str, int], list[Send]] = defaultdict(list)  # what the worker names its tokens by
    for line in lines:
        if "send" in line:
            _note(sends.setdefault(line["send"], Send(line["send"])), line, by_mark)
        elif line["event"] in ("published", "concluded"):
            kind = "new" if line["event"] == "published" else "sent"
            for send in by_mark.get((kind, line[kind], line["pid"]), []):
                if send.concluded is None:
                    send.concluded = line["at"]
                    send.published = line["at"] if kind == "new" else None
    return sorted(sends.values(), key=lambda send: send.sending or send.received or 0.0)


def _note(send: Send, line: Line, by_mark: dict[tuple[str, str, int], list[Send]]) -> None:
    match line["event"]:
        case "sending":
            send.sending, send.pid, send.worker, send.family = line["at"], line["pid"], line["by"], line["family"]
            by_mark["sent", line["sent"], line["pid"]].append(send)
        case "tokens":
            send.tokens = line["at"]
            by_mark["new", line["new"], line["pid"]].append(send)
        case "received":
            send.received, send.token = line["at"], line["token"]
        case "judged":
            send.judged, send.status = line["at"], line["status"]
        case "cut" if line["stage"] == "after":
            send.cut = line["at"]
        case _:
            pass


def second_sends(sends: Sequence[Send], lines: Sequence[Line]) -> list[Second]:
    """Every time that the back end judged a token again, after the time before. What it did not judge spent nothing."""
    kills = {line["pid"]: line["at"] for line in lines if line["event"] == "killed"}
    stops: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        if line["event"] == "stopped":
            stops[line["pid"]].append((line["began"], line["at"]))
    judged: dict[str, list[Send]] = defaultdict(list)
    for send in sorted(sends, key=lambda send: send.received or 0.0):
        if send.judged is not None and send.token not in (None, "unknown"):
            judged[str(send.token)].append(send)
    return [
        Second(first, again, cause_of(first, again, kills=kills, stops=stops))
        for times in judged.values()
        for first, again in pairwise(times)
    ]


def cause_of(
    first: Send, again: Send, *, kills: dict[int, float], stops: dict[int, list[tuple[float, float]]]
) -> str | None:
    """What excuses the second time by the first one's fate; None: nothing does."""
    assert again.received is not None
    if first.cut is not None and first.cut <= again.received:
        return CUT
    if first.pid is None:
        return None
    if _killed_unpublished(first, kills.get(first.pid), before=again.received):
        return KILLED
    for began, ended in stops.get(first.pid, []):
        until = again.received if first.concluded is None else min(first.concluded, again.received)
        lasted = min(ended, again.received) - began
        under_way = first.sending - SLACK <= began <= until
        # The last beat may be up to a third of the lease older than the stop.
        if under_way and ended - began >= LEASE and lasted >= LEASE * 2 / 3 - SLACK:
            return STOPPED
    return None


def _killed_unpublished(first: Send, killed: float | None, *, before: float) -> bool:
    # Whoever saw its last beat has to wait; a second send at once was not a take-over.
    if killed is None or first.concluded is not None or killed + LEASE / 3 > before:
        return False
    # An answer that was dropped, since the session had ended, has no conclusion: a death long after it explains nothing.
    return first.tokens is None or killed <= first.tokens + PUBLISH_FOR + SLACK
