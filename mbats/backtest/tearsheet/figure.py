"""What a figure of the tear sheet is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Trace = dict[str, Any]

FIRST_X = "same as the first"
"""Stands for the ``x`` of a figure's first trace, so that a page holds long times once."""


@dataclass(frozen=True)
class Figure:
    """One chart. ``variants`` maps a choice (an instrument; empty where there is none) to the
    Plotly JSON of its ``data`` and ``layout``, and a ``note`` of its own. Height in pixels."""

    key: str
    title: str
    note: str
    height: int
    variants: Mapping[str, Mapping[str, Any]]


def single(
    key: str, title: str, note: str, height: int, data: Sequence[Trace], layout: Mapping[str, Any]
) -> Figure:
    """Return a figure without choices."""
    return Figure(key, title, note, height, {"": {"data": list(data), "layout": dict(layout)}})


def label(text: str) -> str:
    """Return text for a Plotly label, which would read HTML and templates in it."""
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("%{", "% {")):
        text = text.replace(sign, written)
    return text
