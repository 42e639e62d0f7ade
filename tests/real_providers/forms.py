"""The HTML forms of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(slots=True)
class Form:
    """``fields``: what a browser would send of what is filled in already; ``buttons``: what else, by what is pressed."""

    action: str
    method: str
    name: str = ""
    fields: dict[str, str] = field(default_factory=dict[str, str])
    buttons: dict[str, str] = field(default_factory=dict[str, str])


def forms_of(page: str) -> Sequence[Form]:
    """All of them, in their order."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    return parser.forms


class _Parser(HTMLParser):
    """A parser of the standard library must be inherited from."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = {name: value or "" for name, value in attrs}
        if tag == "form":
            form = Form(about.get("action", ""), about.get("method", "get").lower(), about.get("id", ""))
            self.forms.append(form)
            self._open = form
        elif tag in ("input", "button"):
            self._control(tag, about)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def _control(self, tag: str, about: dict[str, str]) -> None:
        # A button may stand outside of its form and name it (HTML, 4.10.18.3).
        form = (
            next((form for form in self.forms if form.name == about["form"]), None) if "form" in about else self._open
        )
        name, kind = about.get("name"), about.get("type", "submit" if tag == "button" else "text").lower()
        if form is None or not name:
            return
        if kind in ("submit", "image", "button"):
            form.buttons.setdefault(name, about.get("value", ""))
        elif kind not in ("checkbox", "radio") or "checked" in about:
            form.fields[name] = about.get("value", "")
