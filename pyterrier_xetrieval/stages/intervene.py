"""Interventions on features: erase them, keep only them, or scale them (Cai et al. 2026, App. C, section 3.6.2)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ..core.checks import check_model, found_value, is_finite, positive_int
from ..core.codes import encode_view
from ..core.edits import CENTRES, MODES, intervene
from ..explanation import explained_in
from ..labels import feature_ids
from .base import RowWiseStage
from .columns import VectorColumns, added_cell, view_column
from .vector_checks import ENCODED

if TYPE_CHECKING:
    from ..core.attribution import QueryChange
    from ..model import Xetrieval

_STRENGTHS = {"scale": "the factor of mode 'scale'", "add": "the strength of mode 'add'"}
TARGETS = ("doc", "query", "both")


class FeatureIntervention(RowWiseStage):
    """Takes features out of vectors, keeps nothing but them, or turns them up and down, and lets the pipeline go on.

    ``query_vec`` and / or ``doc_vec`` in, the edited ones out; score again (or retrieve again) to see the effect. The encoder's
    query stays in ``query_vec_0``, and ``query_added`` says what was done to its features, so that explanations tell what the
    edit changed (:attr:`Explanation.changes`): their features are then those of the encoder's query, without those that were
    taken out and with those that were added.
    An intervention that selects nothing, or scales by 1, returns every vector bit for bit (unless ``reconstruct``).
    To explain the edited documents use ``model.explainer()``: an index's explainer explains the vectors that the index stores.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`. The views of its aspects that a frame has are edited along with
            ``doc_vec``; with ``model.with_views(aspects=())`` the original embedding alone is, as in the paper.
        mode: what is done to the features:

            - ``"erase"`` (Eq. 25) and ``"keep_only"`` (Eq. 26): ridge projection on the decoder directions, λ = 1e-6; then the
              vector is scaled back to its length, measured as ``around`` says. Erasing takes out all that the vector has along
              the direction, also what other features put there, and so more than the feature's contribution. What is kept comes
              back at full length, however little it was, so that scores of ``"keep_only"`` no longer say how much a vector had
              of the features; a row without features keeps its whole vector.
            - ``"scale"``: activations times ``alpha`` (section 3.6.2), which changes nothing where a feature is not active. The
              edited vector, encoded again, may still have a feature that was scaled to 0.
            - ``"add"``: adds ``alpha`` times the feature's largest known activation times its direction, whether the feature is
              active or not.
        features: which features, one of:

            - feature ids or words of labels (of any of their readings: ``model.labels.find`` says which features), the same for
              all rows (also a Series over an index named ``feature``, or a frame with such a column, as ``labels.find`` gives);
            - ``"shared"``, the shared features of each row's own ``explanation``;
            - a function from a row (a dict of its columns) to feature ids;
            - with ``"scale"`` and ``"add"``, a mapping from features to an ``alpha`` of their own.
        alpha: the factor of ``"scale"``; the strength of ``"add"``, in units of a feature's largest known activation. None
            if ``features`` says it.
        target: which vectors are edited: ``"doc"``, ``"query"`` or ``"both"``.
        reconstruct: with ``"scale"``, decode the (edited) code of every row and drop the reconstruction error, as the
            paper does.
        around: the point from which ``"erase"`` and ``"keep_only"`` measure the length that they restore. ``"bias"`` is the
            dictionary's bias, which all vectors share and no edit then stretches. ``"origin"`` is the paper's
            re-normalisation, to the norm that the vector had. They hardly differ where the bias is short. Where it is long, the
            paper's brings every edited vector nearer to the common mean, so that erasing what a score rests on may raise it
            (:func:`~.core.edits.intervene`).
        batch_size: vectors edited at once.

    Raises:
        ValueError: an unknown mode, target or ``around``; an option that the mode does not use, or ``alpha`` missing; features
            outside the dictionary; with ``"add"``, a feature whose largest activation is not known.

    Warns:
        where ``"scale"`` changed nothing because its features are active in none of the vectors.

    Example::

        explain = dense >> VectorLoader(index) >> model.internalizer() >> model.scorer() >> model.explainer()
        explain >> model.intervention("erase", features="shared") >> model.scorer()
        model.intervention("scale", features={461: 0.0, "lists": 2.0}, target="query")      # no sorting, more lists
    """

    def __init__(
        self, model: Xetrieval, mode: Literal["erase", "keep_only", "scale", "add"] = "erase", *,
        features: Literal["shared"] | Iterable[int] | Mapping[int | str, float] | Callable[[dict], Iterable[int]],
        alpha: float | None = None, target: Literal["doc", "query", "both"] = "doc", reconstruct: bool = False,
        around: Literal["bias", "origin"] = "bias", batch_size: int = 256,
    ):  # fmt: skip
        if mode not in MODES:
            raise ValueError(f"FeatureIntervention expects mode to be one of {MODES}, found {mode!r}")
        if target not in TARGETS:
            raise ValueError(f"FeatureIntervention expects target to be one of {TARGETS}, found {target!r}")
        each = isinstance(features, Mapping)
        if each and (mode not in _STRENGTHS or alpha is not None):
            other = f"mode {mode!r}" if alpha is None else f"alpha={alpha!r}"
            raise ValueError(
                f"FeatureIntervention expects features with an alpha each in modes 'scale' and 'add', and no other alpha, found {other}"
            )
        if mode in _STRENGTHS and not each and not is_finite(alpha):
            raise ValueError(
                f"FeatureIntervention expects alpha, {_STRENGTHS[mode]}, to be a finite number, found {found_value(alpha)}"
            )
        if mode not in _STRENGTHS and alpha is not None:
            raise ValueError(f"FeatureIntervention expects alpha with mode 'scale' or 'add' only, found it with mode {mode!r}")
        if mode != "scale" and reconstruct:
            raise ValueError(f"FeatureIntervention expects reconstruct with mode 'scale' only, found it with mode {mode!r}")
        if around not in CENTRES:
            raise ValueError(f"FeatureIntervention expects around to be one of {CENTRES}, found {around!r}")
        if around != "bias" and mode in _STRENGTHS:
            raise ValueError(
                f"FeatureIntervention expects around with mode 'erase' or 'keep_only' only, found it with mode {mode!r}"
            )
        check_model(model, stage="FeatureIntervention")
        self.model, self.mode, self.target, self.reconstruct, self.around = model, mode, target, reconstruct, around
        self.alpha = None if alpha is None else float(alpha)
        self.batch_size = positive_int(batch_size, "batch_size", stage="FeatureIntervention")
        shared = isinstance(features, str) and features == "shared"
        self.features: str | Callable[[dict], Iterable[int]] | dict[int, float] | tuple[int, ...]
        if isinstance(features, Mapping):
            self.features = self._strengths(features)
        else:
            self.features = "shared" if shared else features if callable(features) else self._checked(features)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        edited = ["query_vec"] if self.target in ("query", "both") else []
        if self.target in ("doc", "both"):
            views = [column for column in map(view_column, self.model.aspects) if column in inp.columns]
            edited += ["doc_vec", *views]
        own = (["qid"] if "query_vec" in edited and ENCODED in inp.columns else []) + (
            ["explanation"] if self.features == "shared" else []
        )
        self.check(inp, [*edited, *own])
        columns, sets = VectorColumns(inp, stage=self, model=self.model), _Sets(self._sets(inp))
        changed = columns.changed_queries() if "query_vec" in edited else None
        for column in edited:
            encoded = changed[2] if column == "query_vec" and changed is not None else None
            columns.check_space(column, columns[column][0] if encoded is None else encoded.encoded)
        facts = self.model.vector_facts
        parts = self._edited(columns, edited, sets)
        documents = {name: columns.unstacked(name, *part, fits=facts) for name, part in parts.items() if name != "query_vec"}
        if changed is None:
            return columns.assign(**documents)
        return columns.with_changed_queries(*parts["query_vec"], self._told(*changed, sets)).assign(**documents)

    def _sets(self, inp: pd.DataFrame) -> list[tuple[int, ...]]:
        if isinstance(self.features, (tuple, dict)):
            return [tuple(self.features)] * len(inp)
        if callable(self.features):
            return [self._checked(self.features(row)) for row in inp.to_dict("records")]
        explained = explained_in(inp, stage="FeatureIntervention")
        for e in explained:
            if e.labels.dictionary != self.model.labels.dictionary:
                raise ValueError(f"{self!r} expects explanations by its model's dictionary, found one by another dictionary")
        return [tuple(sorted(e.features.tolist())) for e in explained]

    def _strengths(self, features: Mapping[int | str, float]) -> dict[int, float]:
        """Each feature's own alpha, ascending ids."""
        alphas: dict[int, float] = {}
        for feature, alpha in features.items():
            if not is_finite(alpha):
                raise ValueError(
                    f"FeatureIntervention expects a finite number as alpha of feature {feature!r}, found {found_value(alpha)}"
                )
            for j in self._checked([feature]):
                if alphas.setdefault(j, float(alpha)) != float(alpha):
                    raise ValueError(f"FeatureIntervention expects one alpha for feature {j}, found {alphas[j]} and {alpha}")
        return dict(sorted(alphas.items()))

    def _identity(self) -> tuple:
        return tuple(tuple(value.items()) if isinstance(value, dict) else value for value in super()._identity())

    def _checked(self, features: object) -> tuple[int, ...]:
        """Feature ids, sorted."""
        ids = feature_ids(features, self.model.labels, stage="FeatureIntervention")
        return tuple(np.unique(ids).tolist())

    def _edited(self, frame: VectorColumns, names: list[str], sets: _Sets) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The edited columns, all in one, so that a page reads the dictionary once and not once a column.

        Returns:
            For each column the distinct edited vectors, float32 ``[u, m]``, and which of them each row has, int64 ``[n]``.
        """
        # one edit for each distinct (vector, feature set): a listed set costs one row per document, not per result
        vectors, own_sets, places = [], [], {}
        for column in names:
            x, rows = frame[column]
            places[column], used, own = sets.with_vectors(rows)
            vectors.append(x[used])
            own_sets.append(own)
        x, listed = np.concatenate(vectors), list(chain.from_iterable(own_sets))
        edited = intervene(
            self.model.sae, x, listed, self.mode, alpha=self._alphas(),
            maxima=self._maxima(listed) if self.mode == "add" else None, reconstruct=self.reconstruct, around=self.around,
            batch_size=self.batch_size,
        )  # fmt: skip
        if self.mode == "scale" and np.any(self._alphas() != 1) and any(listed) and np.array_equal(edited, x):
            warnings.warn(
                f"{self!r} changed nothing: its features are active in none of {len(x)} vectors; mode 'add' adds one",
                stacklevel=2,
            )
        parts = np.split(edited, np.cumsum([len(own) for own in own_sets])[:-1])
        return {name: (part.copy(), places[name]) for name, part in zip(names, parts)}

    def _told(self, queries: np.ndarray, rows: np.ndarray, change: QueryChange | None, sets: _Sets) -> np.ndarray:
        """A cell of ``query_added`` for each row; arguments as :meth:`VectorColumns.changed_queries` gives them."""
        encoded = queries if change is None else change.encoded
        codes = encode_view(self.model.sae, encoded, refit=False, batch_size=self.batch_size)
        codes = codes if change is None else change.added_to(codes)
        places, used, own_sets = sets.with_vectors(rows)
        alphas = np.broadcast_to(self._alphas() if self.mode in _STRENGTHS else 0.0, self.model.sae.dict_size)
        maxima = self._maxima(own_sets) if self.mode == "add" else None
        cells = np.empty(len(used), object)
        for i, (row, own) in enumerate(zip(used.tolist(), own_sets)):
            active = {j: a for j, a in zip(codes.ids[row].tolist(), codes.activations[row].tolist()) if a > 0}
            if maxima is not None:
                added = {j: float(alphas[j] * maxima[j]) for j in own}
            elif self.mode == "keep_only":
                added = {j: -a for j, a in active.items() if own and j not in own}
            else:
                added = {j: float((alphas[j] - 1) * active[j]) for j in own if j in active}
            cells[i] = added_cell(added, {} if change is None else change.added[row])
        return cells[places]

    def _alphas(self) -> float | np.ndarray:
        """One for all, or float32 ``[D]``, one for each; 1 where nothing is said."""
        if not isinstance(self.features, dict):
            return 1.0 if self.alpha is None else self.alpha
        alphas = np.ones(self.model.sae.dict_size, np.float32)
        alphas[list(self.features)] = list(self.features.values())
        return alphas

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


class _Sets:
    """The sets of features of a frame's rows, each numbered once."""

    def __init__(self, sets: list[tuple[int, ...]]):
        numbers: dict[tuple[int, ...], int] = {}
        self._of_row = np.array([numbers.setdefault(own, len(numbers)) for own in sets], np.int64)
        self._distinct, self._n = list(numbers), max(1, len(numbers))

    def with_vectors(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[int, ...]]]:
        """The distinct (vector, set): which each row has, int64 ``[n]``, and the vector and the set of each."""
        places, keys = pd.factorize(rows * self._n + self._of_row)
        return places, keys // self._n, [self._distinct[i] for i in (keys % self._n).tolist()]
