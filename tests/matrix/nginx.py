"""An nginx of its own, with its defaults."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from matrix.process import HOST, Process, free_port

PROGRAM = "nginx"
STARTS = 3  # attempts, since a free port may be taken before it is used
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def program() -> str | None:
    """Where nginx is; Debian has it where only the administrator's PATH leads."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")


@asynccontextmanager
async def nginx(folder: Path, *, behind: int) -> AsyncIterator[tuple[int, int]]:
    """Two ports that lead to the one behind: by the defaults, and with the buffers that a cookie in chunks needs."""
    found = program()
    assert found is not None
    for _ in range(STARTS):
        ports = free_port(), free_port()
        file = folder / "nginx.conf"
        file.write_text(_configuration(folder, *ports, behind=behind))
        command = [found, "-c", str(file), "-e", str(folder / "nginx.log"), "-p", str(folder)]
        process = Process(command, folder / "nginx.log", port=ports[0], environment={})
        if await process.ready():
            break
    else:
        raise AssertionError(f"nginx does not start:\n{process.said()}")
    try:
        yield ports
    finally:
        process.kill()


def _configuration(folder: Path, plain: int, roomy: int, *, behind: int) -> str:
    temporary = " ".join(f"{name}_temp_path {folder}/nginx-{name};" for name in _TEMPORARY)
    user = "user root;" if os.geteuid() == 0 else ""
    location = f"location / {{ proxy_pass http://{HOST}:{behind};"
    return f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; {user}
events {{ }}
http {{
    access_log off; {temporary}
    server {{ listen {HOST}:{plain}; {location} }} }}
    server {{ listen {HOST}:{roomy}; {location} proxy_http_version 1.1;
        proxy_buffer_size 16k; proxy_buffers 8 16k; }} }}
}}
"""
