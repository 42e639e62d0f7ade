"""The real servers: processes of their own on loopback, and what each says that it has seen."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from real_providers import packages, realm
from stores.redis_servers import free_port

ACCESS_TOKEN_SECONDS = (
    3  # Keycloak tells one less where a second ends meanwhile, and what lives for less than one is nonsense
)
USERNAME, PASSWORD = "ada", "lovelace-1815"
CLIENT_ID, CLIENT_SECRET = "the-application", "the:secret/of+the application"  # both parts of Basic need their encoding
STARTED_WITHIN = 240.0  # seconds; Keycloak builds itself first
AUDIENCE = "https://api.example.com"  # of Keycloak's access tokens
PROVIDERS = ("staying", "leaving", "hearing", "checking", "mistaken")  # of the application
_ADMIN = "admin"
_KEYCLOAK = ("start-dev", "--import-realm", "--db=dev-mem", "--cache=local", "--http-host=127.0.0.1")

# Ends the program when the standard input ends, as the others do of themselves: however the tests end, it does not
# stay. (What a shell starts in the background has no standard input, hence the 3.)
_TETHERED = 'exec 3<&0; (read -r _ <&3; kill $$) & exec "$@" </dev/null'


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server has counted since it started: refreshes granted, refused, refused for reuse; tokens revoked."""

    rotations: int
    refusals: int
    reuses: int
    revocations: int


@dataclass(frozen=True, slots=True)
class RealServer:
    """One that runs. ``button``: the name of the one that says yes on its forms."""

    name: str
    issuer: str
    username_field: str
    seen: Callable[[], Seen]
    button: str
    endpoints: dict[str, str] = field(default_factory=dict[str, str])  # where discovery lacks one

    @property
    def options(self) -> dict[str, Any]:
        """What the application configures OIDC with."""
        client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return {"issuer": self.issuer, **client, **self.endpoints}


def order(application: str) -> dict[str, Any]:
    """What all servers are told of the user and of the client, which listens at that address."""
    callbacks = [f"{application}/api/auth/callback/{provider}" for provider in PROVIDERS]
    return {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": callbacks,
        "post_logout_redirect_uris": [f"{application}/", application],
        "backchannel_logout_uri": f"{application}/api/auth/backchannel-logout",
        "access_token_seconds": ACCESS_TOKEN_SECONDS,
        "audience": AUDIENCE,
        "username": USERNAME,
        "password": PASSWORD,
    }


@contextmanager
def certified(application: str, folder: Path) -> Iterator[RealServer]:
    """``oidc-provider``, with the sign-in form that it brings along."""
    told = {
        name: value for name, value in order(application).items() if name not in ("username", "password", "audience")
    }
    command = [packages.node(), "certified.mjs", json.dumps(told)]
    with _telling(command, output=folder / "certified.out") as said:
        yield RealServer("certified", said["issuer"], "login", _asking(said["control"]), "logout")


@contextmanager
def django(application: str, folder: Path) -> Iterator[RealServer]:
    """django-oauth-toolkit, whose discovery document has no revocation endpoint."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = order(application) | {"rsa_key": key.decode()}
    site = folder / "django"
    site.mkdir()
    command = [packages.django_python(), "django_site.py", str(site), json.dumps(told)]
    with _telling(command, output=folder / "django.out") as said:
        endpoints = {"revocation_endpoint": f"{said['issuer']}/revoke_token/"}
        seen = _asking(said["control"])
        yield RealServer("django", said["issuer"], "username", seen, "allow", endpoints=endpoints)


@contextmanager
def keycloak(application: str, folder: Path) -> Iterator[RealServer]:
    """Keycloak, with a database in memory."""
    home, port = packages.keycloak(), free_port()
    imported = home / "data" / "import"
    imported.mkdir(parents=True, exist_ok=True)
    (imported / "realm.json").write_text(json.dumps(realm.realm(order(application))), "utf-8")
    command = ["sh", "-c", _TETHERED, "sh", "sh", str(home / "bin" / "kc.sh"), *_KEYCLOAK, f"--http-port={port}"]
    output = folder / "keycloak.out"
    administrator = {"KC_BOOTSTRAP_ADMIN_USERNAME": _ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": _ADMIN}
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | administrator, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    try:
        address = f"http://localhost:{port}"
        _await_realm(process, f"{address}/realms/{realm.NAME}", output)
        issuer = f"{address}/realms/{realm.NAME}"
        yield RealServer("keycloak", issuer, "username", lambda: _keycloak_events(address), "confirmLogout")
    finally:
        _end(process)


@contextmanager
def _telling(command: Sequence[str], *, output: Path) -> Iterator[dict[str, str]]:
    """A process that tells in its first line where it listens, and ends with its standard input."""
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=packages.HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"{command[1]} ended at once: {output.read_text()[-2000:]}"
        yield json.loads(line)
    finally:
        _end(process)
        process.stdout.close()


def _asking(control: str) -> Callable[[], Seen]:
    def seen() -> Seen:
        counted = httpx.get(control, trust_env=False).json()
        return Seen(**counted)

    return seen


def _keycloak_events(address: str) -> Seen:
    """From its own record of events, as an administrator sees it."""
    form = {"grant_type": "password", "client_id": "admin-cli", "username": _ADMIN, "password": _ADMIN}
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        answer = client.post("/realms/master/protocol/openid-connect/token", data=form).raise_for_status().json()
        headers = {"authorization": f"Bearer {answer['access_token']}"}

        def events(kind: str) -> list[dict[str, Any]]:
            query: dict[str, str | int] = {"type": kind, "max": 10_000}
            path = f"/admin/realms/{realm.NAME}/events"
            found: list[dict[str, Any]] = client.get(path, params=query, headers=headers).raise_for_status().json()
            return found

        refused = [event.get("details", {}).get("reason", "") for event in events("REFRESH_TOKEN_ERROR")]
        reused = [reason for reason in refused if "reuse" in reason]
        rotations, revocations = len(events("REFRESH_TOKEN")), len(events("REVOKE_GRANT"))
        return Seen(rotations=rotations, refusals=len(refused), reuses=len(reused), revocations=revocations)


def _await_realm(process: subprocess.Popen[Any], url: str, output: Path) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while True:
        assert process.poll() is None, f"Keycloak ended at once: {output.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"Keycloak does not answer: {output.read_text()[-2000:]}"
        try:
            if httpx.get(url, trust_env=False, timeout=10).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            time.sleep(0.2)


def _end(process: subprocess.Popen[Any]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
