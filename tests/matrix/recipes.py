"""The recipes on the page are the applications that the matrix runs: ``python -m matrix.recipes`` copies them there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "frameworks.md"
REST = "\n\n# For the matrix:"  # what follows is no part of the recipe
_BLOCK = re.compile(
    r"(?P<head><!-- not run: make matrix runs it, as tests/matrix/(?P<file>[\w/]+\.py) -->\n```python\n).*?(?P<foot>^```$)",
    re.MULTILINE | re.DOTALL,
)


def recipe(file: str) -> str:
    """The part of an application that a reader needs."""
    return (HERE / file).read_text("utf-8").partition(REST)[0].rstrip() + "\n"


def named(page: str) -> list[str]:
    """The files whose recipes are on the page."""
    return [found["file"] for found in _BLOCK.finditer(page)]


def with_recipes(page: str) -> str:
    """The page with each recipe as its file has it."""
    return _BLOCK.sub(lambda found: found["head"] + recipe(found["file"]) + found["foot"], page)


if __name__ == "__main__":
    PAGE.write_text(with_recipes(PAGE.read_text("utf-8")), "utf-8")
