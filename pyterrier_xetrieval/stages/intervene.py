"""Interventions on features: erase them, keep only them, or scale them (Cai et al. 2026, App. C, section 3.6.2)."""

from __future__ import annotations

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

MODES = ("erase", "keep_only", "scale")
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
            λ = 1e-6, back to the norm the vector had. ``"scale"``: activations times ``alpha`` (section 3.6.2).
        features: feature ids, the same for all rows (also a Series over an index named ``feature``, or a frame with such
            a column, as ``labels.find`` gives); or ``"shared"``, the shared features of each row's own ``explanation``;
            or a function from a row (a dict of its columns) to feature ids.
        alpha: the factor of ``"scale"``.
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
        self, model: Xetrieval, mode: Literal["erase", "keep_only", "scale"] = "erase", *,
        features: Literal["shared"] | Iterable[int] | Callable[[dict], Iterable[int]], alpha: float | None = None,
        target: Literal["doc", "query", "both"] = "doc", reconstruct: bool = False, batch_size: int = 256,
    ):  # fmt: skip
        if mode not in MODES:
            raise ValueError(f"FeatureIntervention expects mode to be one of {MODES}, found {mode!r}")
        if target not in TARGETS:
            raise ValueError(f"FeatureIntervention expects target to be one of {TARGETS}, found {target!r}")
        if mode == "scale" and not (isinstance(alpha, (int, float, np.number)) and np.isfinite(alpha)):
            raise ValueError(
                f"FeatureIntervention expects alpha, the factor of mode 'scale', to be a finite number, found {alpha!r}"
            )
        if mode != "scale" and (alpha is not None or reconstruct):
            raise ValueError(f"FeatureIntervention expects alpha and reconstruct with mode 'scale' only, found mode {mode!r}")
        self.model, self.mode, self.target, self.reconstruct = model, mode, target, reconstruct
        self.alpha = None if alpha is None else float(alpha)
        self.batch_size = positive_int(batch_size, "batch_size", stage="FeatureIntervention")
        if isinstance(features, str) and features != "shared":
            raise ValueError(f"FeatureIntervention expects features to be ids, a function or 'shared', found {features!r}")
        self.features: str | Callable[[dict], Iterable[int]] | tuple[int, ...] = (
            features if isinstance(features, str) or callable(features) else self._checked(features)
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
        strangers = [type(e).__name__ for e in found if not isinstance(e, Explanation)]
        if strangers:
            raise ValueError(f"FeatureIntervention expects an Explanation in every row of explanation, found {strangers[0]}")
        return [self._checked(e.features) for e in found]

    def _checked(self, features: object) -> tuple[int, ...]:
        """Feature ids, sorted."""
        ids = feature_ids(features, self.model.sae.dict_size, stage="FeatureIntervention")
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
        edited = intervene(
            self.model.sae, np.concatenate(vectors), list(chain.from_iterable(own_sets)), self.mode,
            alpha=1.0 if self.alpha is None else self.alpha, reconstruct=self.reconstruct, batch_size=self.batch_size,
        )  # fmt: skip
        parts = np.split(edited, np.cumsum([len(own) for own in own_sets])[:-1])
        return {column: unstack(part.copy(), places[column]) for column, part in zip(columns, parts)}
