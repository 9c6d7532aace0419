"""The stages that a model makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, cast

from numpy.typing import ArrayLike

from ..documents import Missing
from .adapt import QueryAdapter
from .evidence import FeatureEvidence
from .explain import SAEExplainer
from .internalize import ReasoningInternalizer
from .intervene import FeatureIntervention
from .normalize import Normalizer
from .reconstruct import Reconstructor
from .score import FoldViews, MultiViewScorer

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from ..model import Xetrieval


class StageFactory:
    """What :class:`~pyterrier_xetrieval.Xetrieval` makes: one method for each stage, with the stage's own options."""

    @property
    def _model(self) -> Xetrieval:
        return cast("Xetrieval", self)

    def internalizer(self, *, batch_size: int = 4096) -> ReasoningInternalizer:
        """Adds the reasoning views: :class:`~pyterrier_xetrieval.ReasoningInternalizer`."""
        return ReasoningInternalizer(self._model, batch_size=batch_size)

    def scorer(self) -> MultiViewScorer:
        """Scores by all views that a frame has, with this model's weights: :class:`~pyterrier_xetrieval.MultiViewScorer`."""
        return MultiViewScorer(self._model)

    def fold(self, *, batch_size: int = 4096) -> FoldViews:
        """Folds all views into ``doc_vec``, with this model's weights: :class:`~pyterrier_xetrieval.FoldViews`."""
        return FoldViews(self._model, batch_size=batch_size)

    def explainer(
        self,
        *,
        threshold: float = 0.0,
        min_confidence: float | None = None,
        top: int = 10,
        refit: bool = True,
        batch_size: int = 512,
    ) -> SAEExplainer:
        """Explains results: :class:`~pyterrier_xetrieval.SAEExplainer`."""
        return SAEExplainer(
            self._model, threshold=threshold, min_confidence=min_confidence, top=top, refit=refit, batch_size=batch_size
        )

    def evidence(
        self,
        encoder: BiEncoder | None = None,
        *,
        text_field: str | None = None,
        refit: bool = True,
        missing: Missing = "error",
        batch_size: int = 32,
    ) -> FeatureEvidence:
        """Finds the words behind the features: :class:`~pyterrier_xetrieval.stages.evidence.FeatureEvidence`."""
        return FeatureEvidence(self._model, encoder, text_field=text_field, refit=refit, missing=missing, batch_size=batch_size)

    def intervention(
        self, mode: Literal["erase", "keep_only", "scale", "add"] = "erase", *,
        features: Literal["shared"] | Iterable[int] | Mapping[int | str, float] | Callable[[dict], Iterable[int]],
        alpha: float | None = None, target: Literal["doc", "query", "both"] = "doc", reconstruct: bool = False,
        around: Literal["bias", "origin"] = "bias", batch_size: int = 256,
    ) -> FeatureIntervention:  # fmt: skip
        """Edits features in vectors: :class:`~pyterrier_xetrieval.FeatureIntervention`."""
        return FeatureIntervention(
            self._model, mode, features=features, alpha=alpha, target=target, reconstruct=reconstruct, around=around,
            batch_size=batch_size,
        )  # fmt: skip

    def adapted(self, matrix: ArrayLike, shift: ArrayLike | None = None) -> QueryAdapter:
        """Applies a linear adapter of queries that was trained elsewhere: :class:`~pyterrier_xetrieval.QueryAdapter`."""
        return QueryAdapter(self._model, matrix, shift)

    def normalizer(self) -> Normalizer:
        """Scales vectors to length 1: :class:`~pyterrier_xetrieval.Normalizer`."""
        return Normalizer(self._model)

    def reconstructor(self, *, refit: bool = True, batch_size: int = 1024) -> Reconstructor:
        """Replaces vectors by what the dictionary makes of them: :class:`~pyterrier_xetrieval.Reconstructor`."""
        return Reconstructor(self._model, refit=refit, batch_size=batch_size)
