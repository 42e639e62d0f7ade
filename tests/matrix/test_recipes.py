from __future__ import annotations

from pathlib import Path

from matrix.frameworks import FRAMEWORKS
from matrix.recipes import HERE, PAGE, named, recipe, with_recipes
from matrix.servers import SERVERS

NOT_SHOWN = {"mounted"}  # it wraps the others


def test_the_page_shows_what_the_matrix_runs() -> None:
    """Each recipe of docs/frameworks.md is, letter by letter, the application that `make matrix` runs."""
    page = PAGE.read_text("utf-8")

    assert with_recipes(page) == page


def test_each_application_has_its_recipe() -> None:
    """No application is left out of the page, and each framework of the table has one."""
    shown = {Path(file).stem for file in named(PAGE.read_text("utf-8"))}
    files = {file.stem for file in HERE.glob("applications/*.py")}

    assert shown == (files - NOT_SHOWN) | {"auth"}
    assert {framework.module for framework in FRAMEWORKS} <= shown


def test_recipes_are_short() -> None:
    """A recipe fits on one screen."""
    lengths = {framework.name: recipe(f"applications/{framework.module}.py").count("\n") for framework in FRAMEWORKS}

    assert {name: lines for name, lines in lengths.items() if lines > 32} == {}


def test_the_table_is_whole_and_good() -> None:
    """The table on the page has all frameworks and servers, no failure, and no token that was lost or sent twice."""
    page = PAGE.read_text("utf-8")
    head = "| | " + " | ".join(server.name for server in SERVERS) + " |"
    rows = [line.strip("| ").split(" | ") for line in page.partition(head)[2].splitlines()[2 : 2 + len(FRAMEWORKS)]]

    assert [row[0] for row in rows] == [framework.name for framework in FRAMEWORKS]
    assert {len(row) for row in rows} == {len(SERVERS) + 1}
    assert "FAILED" not in page
    assert "**0 of them twice**" in page
    assert "**0 of them without their newest tokens**" in page
