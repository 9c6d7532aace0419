"""Interventions on features: erase them, keep only them, or scale them (Cai et al. 2026, App. C, section 3.6.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..core.edits import intervene
from ..explanation import Explanation
from ..labels import feature_ids
from .base import RowWiseStage
from .columns import stack_unique, unstack, view_column

MODES = ("erase", "keep_only", "scale")
TARGETS = ("doc", "query", "both")


class FeatureIntervention(RowWiseStage):
    """Takes features out of vectors, keeps nothing but them, or turns them up and down, and lets the pipeline go on.

    ``query_vec`` and / or ``doc_vec`` in, the edited ones out; score again (or retrieve again) to see the effect.
    An intervention that selects nothing, or scales by 1, returns every vector bit for bit (unless ``reconstruct``).
    To explain the edited documents use ``model.explainer()``: an index's explainer speaks of the vectors that it stores.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        mode: ``"erase"`` (Eq. 25) and ``"keep_only"`` (Eq. 26): ridge projection on the decoder directions,
            λ = 1e-6, back to the norm the vector had. ``"scale"``: activations times ``alpha`` (section 3.6.2).
        features: feature ids, the same for all rows (also a Series over an index named ``feature``, or a frame with such
            a column, as ``labels.find`` gives); or ``"shared"``, the shared features of each row's own ``explanation``;
            or a function from a row (a dict of its columns) to feature ids.
        alpha: the factor of ``"scale"``.
        target: ``"doc"``, ``"query"`` or ``"both"``.
        aspects: views of the document that are edited along with ``doc_vec``; None for those of the model's that a
            frame has, ``()`` for none, as in the paper, which edits the original embedding alone.
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
        self, model, mode: str = "erase", *, features: str | Iterable[int] | Callable[[dict], Iterable[int]],
        alpha: float | None = None, target: str = "doc", aspects: Sequence[str] | None = None, reconstruct: bool = False,
        batch_size: int = 256,
    ):  # fmt: skip
        if mode not in MODES:
            raise ValueError(f"FeatureIntervention expects mode to be one of {MODES}, found {mode!r}")
        if target not in TARGETS:
            raise ValueError(f"FeatureIntervention expects target to be one of {TARGETS}, found {target!r}")
        if (alpha is None) == (mode == "scale"):
            raise ValueError(f"FeatureIntervention expects alpha with mode 'scale' only, found alpha={alpha} with {mode!r}")
        if alpha is not None and not (isinstance(alpha, (int, float, np.number)) and np.isfinite(alpha)):
            raise ValueError(f"FeatureIntervention expects a finite alpha, found {alpha!r}")
        if reconstruct and mode != "scale":
            raise ValueError(f"FeatureIntervention expects reconstruct with mode 'scale' only, found {mode!r}")
        if aspects and target == "query":
            raise ValueError(
                f"FeatureIntervention expects aspects with a document target only, found target 'query' and {aspects!r}"
            )
        self.model, self.mode, self.target, self.reconstruct = model, mode, target, reconstruct
        self.alpha = None if alpha is None else float(alpha)
        self.aspects = None if aspects is None else model.check_aspects(aspects, stage="FeatureIntervention")
        self.batch_size = positive_int(batch_size, "batch_size", stage="FeatureIntervention")
        if isinstance(features, str):
            if features != "shared":
                raise ValueError(f"FeatureIntervention expects features to be ids, a function or 'shared', found {features!r}")
            self.features = features
        else:
            self.features = features if callable(features) else self._checked(features)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        columns = ["query_vec"] if self.target in ("query", "both") else []
        if self.target in ("doc", "both"):
            there = [aspect for aspect in self.model.aspects if view_column(aspect) in inp.columns]
            columns += ["doc_vec", *map(view_column, there if self.aspects is None else self.aspects)]
        needed = [*columns, "explanation"] if self.features == "shared" else columns
        pt.validate.columns(inp, includes=needed, context=self)
        sets = self._sets(inp)
        return inp.assign(**{column: self._edited(inp, column, sets) for column in columns})

    def _sets(self, inp: pd.DataFrame) -> list[tuple[int, ...]]:
        if isinstance(self.features, tuple):
            return [self.features] * len(inp)
        if self.features == "shared":
            found = inp["explanation"].tolist()
            strangers = [type(e).__name__ for e in found if not isinstance(e, Explanation)]
            if strangers:
                raise ValueError(f"FeatureIntervention expects an Explanation in every row of explanation, found {strangers[0]}")
            return [self._checked(e.features) for e in found]
        return [self._checked(self.features(row)) for row in inp.to_dict("records")]

    def _checked(self, features) -> tuple[int, ...]:
        """Feature ids, sorted."""
        ids = feature_ids(features, self.model.sae.dict_size, stage="FeatureIntervention")
        return tuple(np.unique(ids).tolist())

    def _edited(self, inp: pd.DataFrame, column: str, sets: list[tuple[int, ...]]) -> pd.Series:
        x, rows = stack_unique(inp, column, dim=self.model.dim, stage=self)
        # one edit for each distinct (vector, feature set): a listed set costs one row per document, not per result
        slots: dict[tuple, int] = {}
        which = np.array([slots.setdefault((r, s), len(slots)) for r, s in zip(rows.tolist(), sets)], np.int64)
        edited = intervene(
            self.model.sae, x[[r for r, _ in slots]], [s for _, s in slots], self.mode,
            alpha=self.alpha, reconstruct=self.reconstruct, batch_size=self.batch_size,
        )  # fmt: skip
        return unstack(edited, which, index=inp.index)
