"""Interventions on features: erase them, keep only them, or scale them (Cai et al. 2026, App. C, section 3.6.2)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ..core.checks import positive_int
from ..core.edits import intervene
from ..explanation import Explanation
from ..labels import feature_ids
from .base import RowWiseStage
from .columns import VectorColumns, unstack, view_column

if TYPE_CHECKING:
    from ..model import Xetrieval

MODES = ("erase", "keep_only", "scale", "add")
_STRENGTHS = {"scale": "the factor of mode 'scale'", "add": "the strength of mode 'add'"}
TARGETS = ("doc", "query", "both")


class FeatureIntervention(RowWiseStage):
    """Takes features out of vectors, keeps nothing but them, or turns them up and down, and lets the pipeline go on.

    ``query_vec`` and / or ``doc_vec`` in, the edited ones out; score again (or retrieve again) to see the effect.
    An intervention that selects nothing, or scales by 1, returns every vector bit for bit (unless ``reconstruct``).
    To explain the edited documents use ``model.explainer()``: an index's explainer speaks of the vectors that it stores.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`. The views of its aspects that a frame has are edited along with
            ``doc_vec``; with ``model.with_views(aspects=())`` the original embedding alone is, as in the paper.
        mode: ``"erase"`` (Eq. 25) and ``"keep_only"`` (Eq. 26): ridge projection on the decoder directions,
            λ = 1e-6, back to the norm the vector had. ``"scale"``: activations times ``alpha`` (section 3.6.2), which changes
            nothing where a feature is not active. ``"add"``: ``alpha`` times the feature's largest known activation more of
            its direction, whether it is active or not.
        features: feature ids or words of labels, the same for all rows (also a Series over an index named ``feature``, or a
            frame with such a column, as ``labels.find`` gives); or ``"shared"``, the shared features of each row's own ``explanation``;
            or a function from a row (a dict of its columns) to feature ids.
        alpha: the factor of ``"scale"``; the strength of ``"add"``, in units of a feature's largest known activation.
        target: ``"doc"``, ``"query"`` or ``"both"``.
        reconstruct: with ``"scale"``, decode the (edited) code of every row and drop the reconstruction error, as the
            paper does.
        batch_size: vectors edited at once.

    Raises:
        ValueError: an unknown mode or target; ``alpha`` missing or given without use; features outside the dictionary.

    Example::

        explain = dense >> VectorLoader(index) >> model.internalizer() >> model.scorer() >> model.explainer()
        explain >> model.intervention("erase", features="shared") >> model.scorer()
    """

    def __init__(
        self, model: Xetrieval, mode: Literal["erase", "keep_only", "scale", "add"] = "erase", *,
        features: Literal["shared"] | Iterable[int] | Callable[[dict], Iterable[int]], alpha: float | None = None,
        target: Literal["doc", "query", "both"] = "doc", reconstruct: bool = False, batch_size: int = 256,
    ):  # fmt: skip
        if mode not in MODES:
            raise ValueError(f"FeatureIntervention expects mode to be one of {MODES}, found {mode!r}")
        if target not in TARGETS:
            raise ValueError(f"FeatureIntervention expects target to be one of {TARGETS}, found {target!r}")
        if mode in _STRENGTHS and not (isinstance(alpha, (int, float, np.number)) and np.isfinite(alpha)):
            raise ValueError(f"FeatureIntervention expects alpha, {_STRENGTHS[mode]}, to be a finite number, found {alpha!r}")
        if mode not in _STRENGTHS and alpha is not None:
            raise ValueError(f"FeatureIntervention expects alpha with mode 'scale' or 'add' only, found it with mode {mode!r}")
        if mode != "scale" and reconstruct:
            raise ValueError(f"FeatureIntervention expects reconstruct with mode 'scale' only, found it with mode {mode!r}")
        self.model, self.mode, self.target, self.reconstruct = model, mode, target, reconstruct
        self.alpha = None if alpha is None else float(alpha)
        self.batch_size = positive_int(batch_size, "batch_size", stage="FeatureIntervention")
        shared = isinstance(features, str) and features == "shared"
        self.features: str | Callable[[dict], Iterable[int]] | tuple[int, ...] = (
            "shared" if shared else features if callable(features) else self._checked(features)
        )

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        edited = ["query_vec"] if self.target in ("query", "both") else []
        if self.target in ("doc", "both"):
            views = [column for column in map(view_column, self.model.aspects) if column in inp.columns]
            edited += ["doc_vec", *views]
        self.check(inp, [*edited, "explanation"] if self.features == "shared" else edited)
        columns, sets = VectorColumns(inp, dim=self.model.dim, stage=self), self._sets(inp)
        return columns.assign(**self._edited({column: columns[column] for column in edited}, sets))

    def _sets(self, inp: pd.DataFrame) -> list[tuple[int, ...]]:
        if isinstance(self.features, tuple):
            return [self.features] * len(inp)
        if callable(self.features):
            return [self._checked(self.features(row)) for row in inp.to_dict("records")]
        found = inp["explanation"].tolist()
        for e in found:
            if not isinstance(e, Explanation):
                raise ValueError(f"FeatureIntervention expects an Explanation in every row, found {type(e).__name__}")
            if e.labels.dictionary != self.model.labels.dictionary:
                raise ValueError(f"{self!r} expects explanations by its model's dictionary, found one by another dictionary")
        return [self._checked(e.features) for e in found]

    def _checked(self, features: object) -> tuple[int, ...]:
        """Feature ids, sorted."""
        ids = feature_ids(features, self.model.labels, stage="FeatureIntervention")
        return tuple(np.unique(ids).tolist())

    def _edited(self, columns: dict[str, tuple[np.ndarray, np.ndarray]], sets: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
        """The edited columns. All are edited together: a page then reads the dictionary once and not once a column."""
        # one edit for each distinct (vector, feature set): a listed set costs one row per document, not per result
        vectors, own_sets, places = [], [], {}
        for column, (x, rows) in columns.items():
            slots: dict[tuple, int] = {}
            places[column] = np.array([slots.setdefault((r, s), len(slots)) for r, s in zip(rows.tolist(), sets)], np.int64)
            vectors.append(x[[r for r, _ in slots]])
            own_sets.append([s for _, s in slots])
        x, listed = np.concatenate(vectors), list(chain.from_iterable(own_sets))
        edited = intervene(
            self.model.sae, x, listed, self.mode, alpha=1.0 if self.alpha is None else self.alpha,
            maxima=self._maxima(listed) if self.mode == "add" else None, reconstruct=self.reconstruct, batch_size=self.batch_size,
        )  # fmt: skip
        if self.mode == "scale" and self.alpha != 1 and any(listed) and np.array_equal(edited, x):
            warnings.warn(
                f"{self!r} changed nothing: its features are active in none of {len(x)} vectors; mode 'add' adds one",
                stacklevel=2,
            )
        parts = np.split(edited, np.cumsum([len(own) for own in own_sets])[:-1])
        return {column: unstack(part.copy(), places[column]) for column, part in zip(columns, parts)}

    def _maxima(self, sets: list[tuple[int, ...]]) -> np.ndarray:
        """The largest known activation of each feature, float32 ``[D]``, for those of the sets."""
        maxima = np.zeros(self.model.sae.dict_size, np.float32)
        for j in {j for own in sets for j in own}:
            maxima[j] = self.model.labels.facts(j).max_activation
            if np.isnan(maxima[j]):
                raise ValueError(
                    f"{self!r} expects labels with the max_activation of feature {j}, found none; give it to the labels"
                )
        return maxima
