"""GET client.js: the browser's module, the same for everybody."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

from starlette.responses import Response

from ..types import Scope

_TAG = re.compile(rb'(?:W/)?("[^"]*")')


class ClientModule:
    """Read once, from the package. It needs no session, so it is answered without one, and any cache may keep it.

    A cache asks each time whether it still has the newest (RFC 9111, 5.2.2.4): page and server always fit together, and
    the answer to that is a 304 without a body (RFC 9110, 13.1.2 and 15.4.5).
    """

    def __init__(self) -> None:
        self._source = resources.files("asgi_token_rotation").joinpath("client.js").read_bytes()
        self._tag = f'"{hashlib.sha256(self._source).hexdigest()[:32]}"'

    def answer(self, scope: Scope) -> Response:
        """To GET and HEAD."""
        headers = {"cache-control": "public, no-cache", "etag": self._tag, "x-content-type-options": "nosniff"}
        if self._has_newest(scope):
            return Response(status_code=304, headers=headers)
        headers["content-length"] = str(len(self._source))
        body = b"" if scope["method"] == "HEAD" else self._source
        return Response(body, headers=headers, media_type="text/javascript")

    def _has_newest(self, scope: Scope) -> bool:
        # Compared weakly: a front end that compresses makes the tag a weak one (RFC 9110, 8.8.3.2 and 13.1.2).
        values = [bytes(value) for name, value in scope["headers"] if name.lower() == b"if-none-match"]
        return any(value.strip() == b"*" or self._tag.encode() in _TAG.findall(value) for value in values)
