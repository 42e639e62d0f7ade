"""docs/providers/: a page for each ready-made provider, whose code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from asgi_token_rotation import TokenRotation
from asgi_token_rotation.providers import ready_made

PAGES = sorted((Path(__file__).parents[2] / "docs" / "providers").glob("*.md"))


def test_each_has_a_page() -> None:
    """Each ready-made provider has its page, and no page is left over."""
    made = [
        name for name, value in vars(ready_made).items() if callable(value) and value.__module__ == ready_made.__name__
    ]

    assert [page.stem for page in PAGES] == sorted(name for name in made if name.islower() and not name.startswith("_"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page(page: Path) -> None:
    """The page's code makes a runtime, and the redirect URI that it names is that provider's."""
    text = page.read_text("utf-8")
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(compile(block, str(page), "exec", dont_inherit=True), names)

    assert blocks
    assert isinstance(names["rotation"], TokenRotation)
    assert f"https://www.example.com/api/auth/callback/{names['provider'].id}`" in text
    assert max(map(len, text.splitlines())) < 200
