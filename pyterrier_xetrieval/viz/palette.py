"""The colours of features, one for each of the first ten rows: the same on cards, in the explorer and in figures."""

from __future__ import annotations

from typing import NamedTuple


class Colour(NamedTuple):
    """Two shades of one colour.

    Attributes:
        bar: for bars, on white and on black; mark: for the ground of marked words, which are written in :data:`INK`.
    """

    bar: str
    mark: str


# Okabe and Ito's colours, which people who see colours differently tell apart, and some more in other lightness
PALETTE = (
    Colour("#0072b2", "#b5dcf5"),
    Colour("#d98c00", "#ffe0a3"),
    Colour("#009e73", "#b0e8d3"),
    Colour("#cc79a7", "#f5cfe3"),
    Colour("#d55e00", "#ffcdb0"),
    Colour("#a39600", "#f3eea0"),
    Colour("#7b61c4", "#dcd2f7"),
    Colour("#2a9d9d", "#bfeaea"),
    Colour("#8c6d4f", "#e6d7c5"),
    Colour("#7a7f87", "#dddfe3"),
)
INK = "#1b1f27"  # of marked words, in light and dark surroundings: 9 to 1 and more on every mark
