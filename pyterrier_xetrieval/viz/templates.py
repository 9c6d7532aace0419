"""The templates of cards, and how numbers are written on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jinja2
from markupsafe import Markup, escape

from .palette import INK, PALETTE


def render(name: str, **values: Any) -> str:
    """A template of this folder, filled in; everything that is no Markup is escaped."""
    return _TEMPLATES.get_template(f"{name}.html.j2").render(values)


def signed(value: float) -> str:
    """A part of a score as a card writes it, with a sign that is as wide as a digit.

    Example::

        >>> signed(0.2294), signed(-0.0041), signed(-0.00001)
        ('+0.229', '−0.004', '0.000')
    """
    text = f"{value:+.3f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def number(value: float) -> str:
    """A score as a card writes it.

    Example::

        >>> number(0.66791), number(-0.0041)
        ('0.668', '−0.004')
    """
    return signed(value).removeprefix("+")


def percent(confidence: float) -> str:
    """A confidence as a card writes it; nothing where nobody measured it.

    Example::

        >>> percent(0.98), percent(float("nan"))
        ('98\u202f%', '')
    """
    return f"{100 * confidence:.0f}\u202f%" if confidence == confidence else ""


def emphasised(sentence: str, labels: Iterable[tuple[int | None, str]]) -> Markup:
    """A sentence whose ``*labels*`` are underlined in the colours of their rows.

    Args:
        labels: the number of the row (None: no colour) and the label.
    """
    html = escape(sentence)
    for number, label in labels:
        kind = "" if number is None else f' class="f{number}"'
        html = Markup(html.replace(escape(f"*{label}*"), Markup(f"<em{kind}>{{}}</em>").format(label), 1))
    return html


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("pyterrier_xetrieval", "viz"), autoescape=True, undefined=jinja2.StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
_TEMPLATES.globals.update(palette=PALETTE, ink=INK, number=number, signed=signed, percent=percent)
