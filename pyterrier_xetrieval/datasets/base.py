"""What every collection of this package offers beyond a PyTerrier dataset: a name and excluded documents."""

from __future__ import annotations

import pandas as pd
import pyterrier as pt


class Collection(pt.datasets.Dataset):
    """A PyTerrier dataset with documents that must not be retrieved for a query.

    Attributes:
        name: of the collection, for tables and files.
    """

    name: str

    def get_excluded(self) -> pd.DataFrame:
        """The documents that must not be retrieved for a query: columns ``qid`` and ``docno`` (both strings).

        They are taken out of a ranking before it is measured. Empty where a collection has none.
        """
        return excluded_frame([])

    def _no_variant(self, variant: str | None) -> None:
        if variant is not None:
            raise ValueError(f"{self.name} has no variants, got {variant!r}")


def excluded_frame(pairs) -> pd.DataFrame:
    """A frame of ``qid`` and ``docno`` from pairs of strings, each pair once."""
    return pd.DataFrame(list(dict.fromkeys(pairs)), columns=["qid", "docno"], dtype=str)


def excluded_of(dataset) -> pd.DataFrame:
    """``dataset.get_excluded()``, empty for a PyTerrier dataset that knows of no such thing."""
    return dataset.get_excluded() if hasattr(dataset, "get_excluded") else excluded_frame([])


def name_of(dataset) -> str:
    """The collection's name, or the representation of a PyTerrier dataset that has none."""
    return getattr(dataset, "name", None) or repr(dataset)
