"""Halves of characters in texts: JSON can write them, but UTF-8 and tokenizers take none."""

import re

_HALVES = re.compile("[\ud800-\udfff]")  # of a pair of UTF-16; Python keeps one that stands alone as a character


def repaired(text: str) -> str:
    """The text with the replacement character in the place of each half of a character, so that no place moves.

    >>> repaired("half: \\ud83d, whole: 😀") == "half: \\ufffd, whole: 😀"
    True
    """
    return text if text.isascii() else _HALVES.sub("\ufffd", text)
