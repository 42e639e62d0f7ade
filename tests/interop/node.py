"""The real Auth.js, NextAuth and jose, in a node process that bridge.mjs runs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgi_token_rotation.types import Dialect

HERE = Path(__file__).parent
SECRET = "the secret that both sides share, long enough"
OLDER = "the secret that it has taken the place of one"
DAY = 86_400.0

# Every claim that one of the two languages could read otherwise than the other.
UNICODE = {
    "name": "Zoë 🚀👩‍👩‍👧 שָׁלוֹם مرحبا 日本 \u202eRTL",
    "lone": ["\ud83d", "x\udc00y", "\udc00\ud800"],
    "controls": '\u0000\u001f\u007f\u2028\u2029"\\/',
    "ключ 🔑": {"nested": [{}, [], None, True, False]},
    "numbers": [0, -1, 2**53 - 1, -(2**53) + 1, 0.1, 1e21, 5e-324, 1.5e300],
    "": "no name",
}


class RefusedByNode(Exception):  # noqa: N818 a refusal of the library's, which most tests want
    """What the real library raised, in its own words."""


class Node:
    """The real packages in a node process of their own."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen(
            [program, "bridge.mjs"],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __call__(self, operation: str, **settings: Any) -> Any:
        """The result of one operation of bridge.mjs. Raises RefusedByNode where the library raised."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"operation": operation, **settings}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "node has ended: see its error output above"
        answer = json.loads(line)
        if "error" in answer:
            raise RefusedByNode(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


def bare(claims: Mapping[str, Any] | None) -> dict[str, Any]:
    """The claims without what every seal sets anew."""
    assert claims is not None
    return {name: value for name, value in claims.items() if name not in ("iat", "exp", "jti")}


def salt_of(dialect: Dialect, name: str) -> str:
    """What the keys of a session cookie are salted with: in v5 its full name."""
    return name if dialect == "authjs" else ""


class Jar(dict[str, str]):
    """A browser's cookies, by what the answers said."""

    def took(self, lines: list[str]) -> Jar:
        """Set and remove what the ``Set-Cookie`` values say."""
        for line in lines:
            pair, *attributes = line.split("; ")
            name, _, value = pair.partition("=")
            self.pop(name, None)
            if not {"Max-Age=0", "max-age=0"} & set(attributes):
                self[name] = value
        return self

    @property
    def header(self) -> str:
        """The ``cookie`` header that the browser sends."""
        return "; ".join(f"{name}={value}" for name, value in self.items())


def now() -> float:
    """The time of both sides, which here can't be set."""
    return time.time()
