"""The public surface, compared with the snapshot that was reviewed: ``public_api.txt``."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asgi_token_rotation

SNAPSHOT = Path(__file__).with_name("public_api.txt")
PACKAGE = "asgi_token_rotation"
MOST_NAMES = 45


def public_names() -> list[str]:
    return sorted(
        name
        for name, value in vars(asgi_token_rotation).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    )


def rendered() -> str:
    """One block for each name. Annotations stand as they are written, so every Python renders the same."""
    return (
        "\n".join(line for name in public_names() for line in described(name, getattr(asgi_token_rotation, name)))
        + "\n"
    )


def described(name: str, value: Any) -> Iterator[str]:
    if inspect.isfunction(value):
        yield f"{'async ' if inspect.iscoroutinefunction(value) else ''}def {name}{signature(value)}"
    elif inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base.__name__ not in ("object", "Generic"))
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from members(value)
    else:
        yield f"{name} = {value}"


def members(kind: type) -> Iterator[str]:
    initializer = vars(kind).get("__init__")
    if inspect.isfunction(initializer) and initializer.__module__.startswith(PACKAGE):
        yield f"    __init__{signature(initializer)}"
    if dataclasses.is_dataclass(kind):
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        yield "    frozen"
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set[str]()
    for name, member in sorted(vars(kind).items()):
        if name.startswith("_") or name in fields:
            continue
        if isinstance(member, property):
            assert member.fget is not None
            yield f"    {name}: {text_of(member.fget.__annotations__['return'])}"
        elif isinstance(member, classmethod):
            yield f"    classmethod {name}{signature(member.__func__)}"
        elif inspect.isfunction(member):
            yield f"    {'async ' if inspect.iscoroutinefunction(member) else ''}{name}{signature(member)}"


def signature(function: Any) -> str:
    parts: list[str] = []
    star = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        parts.append(one(parameter))
    returned = inspect.signature(function).return_annotation
    answer = "" if returned is inspect.Signature.empty else f" -> {text_of(returned)}"
    return f"({', '.join(parts)}){answer}"


def one(parameter: inspect.Parameter) -> str:
    marks = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    text = marks.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {text_of(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {default_of(parameter.default)}"
    return text


def default_of(value: object) -> str:
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}()"  # its own fields stand in its own block
    return "time.time" if getattr(value, "__name__", None) == "time" else repr(value)


def text_of(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def test_the_public_api_is_the_one_reviewed() -> None:
    """Names and signatures of the root are those of public_api.txt; a change is made there on purpose, and seen in review."""
    assert rendered().splitlines() == SNAPSHOT.read_text("utf-8").splitlines()


def test_the_root_stays_small() -> None:
    """The root has at most 45 names."""
    assert 30 <= len(public_names()) <= MOST_NAMES


def test_the_version_is_the_package_s() -> None:
    """``__version__`` is what the changelog says is to come, or has come."""
    assert asgi_token_rotation.__version__ in (SNAPSHOT.parent.parent / "CHANGELOG.md").read_text("utf-8")


def test_public_names_are_documented() -> None:
    """Every public class and function has a docstring, and so has every public member of a class."""
    values = {name: getattr(asgi_token_rotation, name) for name in public_names()}
    silent = [name for name, value in values.items() if callable(value) and not inspect.getdoc(value)]
    silent += [
        f"{name}.{member}"
        for name, value in values.items()
        if inspect.isclass(value)
        for member, content in vars(value).items()
        if not member.startswith("_") and isinstance(content, property | classmethod) and not inspect.getdoc(content)
    ]

    assert silent == []


def test_public_parameters_have_types() -> None:
    """Nothing public is unannotated."""
    assert [line for line in rendered().splitlines() if line.startswith(("def", "async")) and " -> " not in line] == []


if __name__ == "__main__":
    SNAPSHOT.write_text(rendered(), "utf-8")
    sys.stdout.write(f"{SNAPSHOT}: {len(public_names())} names\n")
