"""Places of words and sentences in a text."""

import numpy as np


def groups_of(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Which sentence each word is in: for spans ``[w, 2]`` and ``[g, 2]``, both in the order of the text, int64 ``[w]``."""
    return np.maximum(np.searchsorted(outer[:, 0], inner[:, 0], side="right") - 1, 0)
