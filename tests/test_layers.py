"""The architecture, held against the code: rooms and floors as ARCHITECTURE.md draws them."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "asgi_token_rotation"
NAME = "asgi_token_rotation"
LONGEST_FILE = 300  # lines
LONGEST_FUNCTION = 60  # lines
MUTATORS = frozenset(
    {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}
)
MAY_IMPORT = {
    "starlette": ("_endpoints/", "_middleware.py", "integrations/"),
    "httpx": ("providers/", "http.py", "_runtime.py", "testing.py", "_testing_"),
    "fastapi": ("integrations/",),
    "litestar": ("integrations/",),
    "uvicorn": (),
    "httpx2": (),
    "anyio": (),
    "trio": (),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def files() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@functools.cache
def tree_of(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text("utf-8"))


def room_of(file: str) -> str:
    head, slash, _ = file.partition("/")
    return head + slash


@functools.cache
def drawn_floors() -> dict[str, int]:
    rows = re.findall(r"^\| (\d+) \| `([^`]+)` \|", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.MULTILINE)
    return {room: int(floor) for floor, room in rows}


def file_of(module: list[str]) -> str | None:
    """The file of a module of ours, given without the package's own name."""
    path = "/".join(module)
    for candidate in (f"{path}.py", f"{path}/__init__.py" if path else "__init__.py"):
        if candidate in files():
            return candidate
    return None


def imported(file: str, tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Each import as its top package, and the file behind it where it is ours. Imports for type checkers count too."""
    here = [NAME, *file.removesuffix(".py").split("/")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from resolved(alias.name.split("."), [])
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            names = [alias.name for alias in node.names]
            yield from resolved([*base, *(node.module or "").split(".")] if node.module else base, names)


def resolved(module: list[str], names: list[str]) -> Iterator[tuple[str, str | None]]:
    if module[0] != NAME:
        yield module[0], None
        return
    submodules = [found for name in names if (found := file_of([*module[1:], name]))]
    own = file_of(module[1:])
    if own is not None and len(submodules) < max(len(names), 1):
        yield NAME, own
    for submodule in submodules:
        yield NAME, submodule


@functools.cache
def own_imports() -> dict[str, set[str]]:
    return {
        file: {target for _, target in imported(file, tree_of(file)) if target is not None and target != file}
        for file in files()
    }


def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def functions_of(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def test_every_room_stands_on_a_floor() -> None:
    """ARCHITECTURE.md names every room that exists, and none that does not."""
    assert sorted(drawn_floors()) == sorted({room_of(file) for file in files()})


def test_every_file_of_the_heart_is_told() -> None:
    """ARCHITECTURE.md names every file of _rotation."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    missing = [file for file in files() if file.startswith("_rotation/") and f"`{Path(file).name}`" not in text]

    assert [file for file in missing if not file.endswith("__init__.py")] == []


@pytest.mark.parametrize("file", files())
def test_rooms_import_downwards(file: str) -> None:
    """A room imports only rooms on lower floors, or on its own."""
    floors = {room_of(name): 0 for name in files()} | drawn_floors()
    upwards = [target for target in own_imports()[file] if floors[room_of(target)] > floors[room_of(file)]]

    assert upwards == []


def test_no_circle_among_rooms() -> None:
    """Rooms, those of one floor too, import each other in one direction only."""
    graph: dict[str, set[str]] = {}
    for file, targets in own_imports().items():
        room = room_of(file)
        graph.setdefault(room, set()).update(room_of(target) for target in targets if room_of(target) != room)

    assert cycle_in(graph) == []


def test_no_circle_among_files() -> None:
    """No module imports itself, by whatever detour."""
    graph = own_imports()

    assert sum(map(len, graph.values())) > len(graph)  # else the imports were not found at all
    assert cycle_in(graph) == []


@pytest.mark.parametrize("file", files())
def test_frameworks_stay_at_the_edge(file: str) -> None:
    """Starlette, httpx and the frameworks are imported only where ARCHITECTURE.md allows it."""
    packages = {package for package, _ in imported(file, tree_of(file))}
    misplaced = [name for name in packages & MAY_IMPORT.keys() if not file.startswith(MAY_IMPORT[name] or ("-",))]

    assert misplaced == []


def test_the_root_needs_no_framework() -> None:
    """FastAPI and Litestar are optional: the root reaches no integration."""
    graph, reached, waiting = own_imports(), set[str](), ["__init__.py"]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting.extend(graph[file])

    assert [file for file in reached if file.startswith("integrations/")] == []
    assert "_rotation/rotator.py" in reached


@pytest.mark.parametrize("file", files())
def test_files_are_short(file: str) -> None:
    """No file has more than 300 lines."""
    lines = len((PACKAGE / file).read_text("utf-8").splitlines())

    assert lines <= LONGEST_FILE


@pytest.mark.parametrize("file", files())
def test_functions_are_short(file: str) -> None:
    """No function has more than 60 lines, signature and docstring included."""
    sizes = [
        (function.name, (function.end_lineno or 0) - function.lineno + 1) for function in functions_of(tree_of(file))
    ]

    assert [(name, size) for name, size in sizes if size > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("file", files())
def test_inheritance_is_for_exceptions_and_protocols(file: str) -> None:
    """No class inherits but from exceptions, Protocol, typing's forms, httpx.Auth, and Session from dict."""
    bases = {
        (node.name, ast.unparse(base).partition("[")[0])
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    }
    allowed = (
        "Protocol",
        "NamedTuple",
        "TypedDict",
        "Generic",
        "Exception",
        "ValueError",
        "RuntimeError",
        "httpx.Auth",
    )
    foreign = {
        (name, base)
        for name, base in bases
        if base not in allowed
        and not base.endswith("Error")
        and (name, base) not in (("Session", "dict"), ("WaitableStore", "Store"))  # a protocol of protocols
    }

    # Litestar knows plugins by their class, and FastAPI security schemes.
    assert {pair for pair in foreign if not file.startswith("integrations/")} == set()


@pytest.mark.parametrize("file", files())
def test_no_state_in_modules(file: str) -> None:
    """No function changes a name of its module, and no module holds a context variable or a cache."""
    tree = tree_of(file)
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    changes = [ast.unparse(node) for function in functions_of(tree) for node in changing(function, names)]
    held = [
        text
        for node in tree.body
        if re.search(r"\b(ContextVar|lru_cache|WeakKeyDictionary)\b", text := ast.unparse(node))
    ]

    assert changes == []
    assert [text for text in held if not text.startswith(("import", "from"))] == []


def changing(function: Function, names: set[str]) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        changed: ast.AST | None = None
        if isinstance(node, ast.Global):
            yield node
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            changed = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            changed = node.func.value
        if isinstance(changed, ast.Name) and changed.id in names:
            yield node


@pytest.mark.parametrize("file", files())
def test_public_names_have_docstrings(file: str) -> None:
    """Every module, and every class, function and method without an underscore, says what the caller may rely on."""
    tree = tree_of(file)
    silent = [name for name, node in documented(tree) if ast.get_docstring(node) is None]

    assert ast.get_docstring(tree)
    assert silent == []


def documented(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    for node in scope.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from documented(node)


@pytest.mark.parametrize("file", files())
def test_annotations_are_postponed_and_nothing_is_parked(file: str) -> None:
    """Every module that has code postpones its annotations, and none holds a TODO."""
    text = (PACKAGE / file).read_text("utf-8")

    assert "from __future__ import annotations" in text or len(tree_of(file).body) == 1
    assert re.search(r"\b(TODO|FIXME|HACK|XXX)\b", text) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the patches, and is not installed")
def test_the_patches_that_take_out_guards_apply() -> None:
    """A change that makes a guard's patch unusable is noticed at once, not only by the long run of all of them."""
    patches = sorted((ROOT / "tests" / "guards").glob("*.patch"))
    git = ["git", "apply", "--check", "-p1"]
    stale = [patch.name for patch in patches if subprocess.run([*git, str(patch)], cwd=ROOT, check=False).returncode]

    assert len(patches) >= 50
    assert stale == []
