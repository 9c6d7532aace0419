"""An index seen with all of its views, or without any: its folded vectors are the sum of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ..core.checks import distinct_aspects
from ..model import Xetrieval


class FoldedViews:
    """What an index on disk and one in a database share: which views are in use, the model with these, and when two are equal.

    Attributes:
        aspects: the views beside the original one that are in use.
    """

    aspects: tuple[str, ...]
    _model: Xetrieval  # with all views that are stored

    @property
    def model(self) -> Xetrieval:
        """The model that the corpus was indexed with; with the views that are in use."""
        return self._model.with_views(self.aspects)

    def with_views(self, aspects: Sequence[str] | None = None) -> Self:
        """The same index seen without its views, or with all again; this one stays as it is.

        Without views its retriever ranks by the original vectors, and its explainer explains ``⟨q,z⟩``. Methods that
        start from features or documents (``feature_retriever``, ``features_of`` and so on) go on with all views.

        Args:
            aspects: ``()`` for none, None for all.

        Raises:
            ValueError: some of the views. A folded vector is the sum of all, which cannot be taken apart.

        Example::

            dense = index.with_views(())
            model.encoder() >> dense.retriever(num_results=10) >> dense.explainer()
        """
        stored, stage = self._model.aspects, f"{type(self).__name__}.with_views"
        chosen = stored if aspects is None else distinct_aspects(aspects, stage=stage)
        if chosen and set(chosen) != set(stored):
            raise ValueError(
                f"{stage} expects all of {list(stored)} or (), found {list(chosen)}: its folded vectors are the sum of all views; "
                "index the corpus again with model.with_views(…) for others"
            )
        index = object.__new__(type(self))  # copy.copy would open files or connect again, as unpickling does
        vars(index).update(vars(self), aspects=stored if chosen else ())
        return index

    def _identity(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())
