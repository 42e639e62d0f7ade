"""The real next-auth/react in a DOM against one side, and what its records say without what differs from run to run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from asgi_token_rotation.types import Dialect
from contract.drive import Browser, Recording
from contract.node import ran
from contract.normal import flattened, normal_text
from contract.scenarios import signed_in


def clients_recorded(*, dialect: Dialect, ports: Mapping[str, int]) -> tuple[Recording, dict[str, int]]:
    """Every scenario of the dialect's own client: the records, and how often each rendered."""
    plain, hub = (str(ports[f"{dialect} {world}"]) for world in ("plain", "oauth"))
    told: dict[str, list[dict[str, Any]]] = ran(
        "clients.mjs", dialect, *(f"http://127.0.0.1:{p}" for p in (plain, hub))
    )
    renders = {name: int(steps[0].pop("renders")) for name, steps in told.items()}
    return {name: [_normal(step, ports=(plain, hub)) for step in steps] for name, steps in told.items()}, renders


def _normal(step: Mapping[str, Any], *, ports: Iterable[str]) -> dict[str, Any]:
    text = json.dumps(step)
    for port in ports:
        text = normal_text(text, port=port)
    told: dict[str, Any] = json.loads(text)
    # A session that only ends some milliseconds later is the same state.
    states: list[str] = told.pop("states")
    seen = [state for place, state in enumerate(states) if place == 0 or state != states[place - 1]]
    result = flattened(told.pop("result"), "result")
    return {**result, **{name: value for name, value in told.items() if value}, "states": seen}


def answers_to(recording: Recording, *, dialect: Dialect, ports: Mapping[str, int]) -> Recording:
    """What one side answers to the recorded requests of the clients, one after the other."""
    found: Recording = {}
    with httpx.Client(trust_env=False, timeout=60) as client:
        for name, (step,) in recording.items():
            setup: dict[str, Any] = step.get("setup", {})
            if setup.get("meddled") or "broken" in step.get("answers", ()):
                continue
            world = "oauth" if setup.get("hub") else "plain"
            origin = f"http://127.0.0.1:{ports[f'{dialect} {world}']}"
            browser = Browser(client, dialect=dialect, origin=origin)
            for before in signed_in(setup["as"]) if setup.get("as") else ():
                browser.does(before)
            if setup.get("cookie"):
                browser.plant("session", setup["cookie"])
            found[name] = [{"answers": [_answer(browser, line) for line in step.get("requests", ())]}]
    return found


def _answer(browser: Browser, line: str) -> str:
    there = line.replace("http%3AORIGIN", quote(browser.origin, safe="")).replace("<hex>", "{csrf}")
    method, url, *rest = there.split(" | ")
    told = [part.split(": ", 1) for part in rest if re.match("[a-z-]+: ", part)]
    content = next((part for part in rest if not re.match("[a-z-]+: ", part)), "")
    response = browser.sends(method, url, dict(told), content.encode())
    return normal_text(f"{response.status_code} {response.text}", port=browser.origin.rpartition(":")[2])
