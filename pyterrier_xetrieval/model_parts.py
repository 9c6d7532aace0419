"""What a model consists of, each part read when it is first asked for."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyterrier as pt
import torch

from . import model_files
from .core.internalizer import Internalizer
from .core.mean_document import MeanDocument, has_long_bias
from .core.sae import SparseAutoencoder
from .core.vector_facts import VectorFacts
from .encoders import load_encoder, other_encoder
from .labels import FeatureLabels
from .token_vectors import TokenEncoder, readers_of

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

NO_PATH = type(pt.Artifact.NO_PATH)  # by type: a pickled model carries a copy of the sentinel


class ModelParts(pt.Artifact):
    """What :class:`~pyterrier_xetrieval.Xetrieval` is asked for: its weights and labels, its encoder, and what it knows of these.

    Attributes:
        meta: the facts.
        device: where the weights are.
        check: what becomes of vectors, and of an encoder, that are not the model's own.
    """

    meta: dict[str, Any]
    device: torch.device
    check: Literal["warn", "error", "off"]
    _parts: dict[str, Any]  # what has been read; shared with copies, and with other models of the folder
    _weights: dict[str, float]  # of the views in use

    @property
    def dim(self) -> int:
        """``m``, the dimension of the encoder's vectors."""
        return self.meta["dim"]

    @property
    def aspects(self) -> tuple[str, ...]:
        """The reasoning views that this model computes, beside the original view."""
        return tuple(self._weights)

    @property
    def weights(self) -> dict[str, float]:
        """The weight ``w_t`` of each of these views in the multi-view score (Eq. 11)."""
        return dict(self._weights)

    @property
    def internalizers(self) -> dict[str, Internalizer]:
        """Aspect to module ``R_t``, for the aspects of this model."""
        modules = self._part("internalizers", lambda: model_files.read_internalizers(self._folder, self.meta, self.device))
        return {aspect: modules[aspect] for aspect in self._weights}

    @property
    def sae(self) -> SparseAutoencoder:
        """The dictionary."""
        return self._part("sae", lambda: model_files.read_sae(self._folder, self.meta, self.device))

    @property
    def labels(self) -> FeatureLabels:
        """Names of the dictionary's features."""
        labels = self._part("labels", lambda: model_files.read_labels(self._folder, self.meta))
        if not labels.dictionary:
            labels.dictionary = hashlib.sha256(self.sae.directions().tobytes()).hexdigest()[:16]
        return labels

    @property
    def means(self) -> dict[str, MeanDocument]:
        """The mean training document in each view, ``"original"`` and the aspects; empty where nobody measured it."""
        return self._part("means", lambda: model_files.read_means(self._folder, self.meta))

    @property
    def has_long_bias(self) -> bool:
        """Whether the dictionary's bias is more than half as long as the encoder's vectors, which then share a long mean.

        Most of every score is then the bias's part, and explanations say what a score has above that of a mean document. Where
        nothing is known of the encoder's vectors (:attr:`vector_facts`), their length is taken for 1.
        """
        length = 1.0 if self.vector_facts is None else self.vector_facts.length
        return self._part("has_long_bias", lambda: has_long_bias(self.sae, length))

    def mean_document(self, aspects: Sequence[str] | None = None) -> MeanDocument | None:
        """The document whose score explanations subtract from a score; None where the bias is short, and nothing is subtracted.

        Args:
            aspects: the views in use beside the original one; None for this model's.

        Returns:
            The mean of the documents that the dictionary was trained on, with all these views folded into one. Where it is not
            known: the document without any feature, which is the bias alone.
        """
        if not self.has_long_bias:
            return None
        own = self._weights if aspects is None else {aspect: self._weights[aspect] for aspect in aspects}
        weights, found = {"original": 1.0, **own}, self.means
        if not set(weights) <= set(found):
            return MeanDocument.without_features(self.sae, list(weights.values()))
        vector = np.asarray(sum(w * found[view].vector for view, w in weights.items()), np.float32)
        coefficients = np.asarray(sum(w * found[view].coefficients for view, w in weights.items()), np.float32)
        return MeanDocument(vector, coefficients, found["original"].documents)

    @property
    def min_confidence(self) -> float:
        """The confidence from which on a feature is shown unless a stage says otherwise.

        It is 0, so that all features are shown, where nobody measured the confidence of the labels.
        """
        return self.meta.get("min_confidence", 0.0)

    @property
    def vector_facts(self) -> VectorFacts | None:
        """What is known of the encoder's vectors, which tells other encoders' from them; None where nobody measured it.

        The argument ``sample`` of :meth:`~pyterrier_xetrieval.Xetrieval.from_parts` measures it.
        """
        return self._part("vector_facts", self._read_vector_facts)

    def _read_vector_facts(self) -> VectorFacts | None:
        if "vectors" in self.meta:
            return VectorFacts.from_dict(self.meta["vectors"])
        if self.meta["encoder"].get("normalize"):  # artifacts of version 0.1 say this alone
            return VectorFacts(length=1, length_spread=0, unexplained=0, unexplained_spread=0, foreign=0)
        return None

    def encoder(self, path: str | os.PathLike[str] | None = None, **options: Any) -> BiEncoder:
        """The pyterrier_dr encoder that this model explains.

        Args:
            path: its folder, if it is elsewhere than where the model was trained.
            options: of the encoder, such as ``batch_size`` and ``device``.

        Raises:
            ValueError: a model that does not say what its encoder is, and was not given it (``model.with_encoder``); options for
                one that was given; with ``check="error"`` another encoder than its own.
            FileNotFoundError: no such folder.

        Example::

            model.encoder(path="models/my-e5", batch_size=64)
        """
        if path is None and (given := self._parts.get("given encoder")) is not None:
            if options:
                raise ValueError(f"{self!r} was given its encoder, whose options it cannot change, found {sorted(options)}")
            return given
        beside = None if self._in_memory else self._folder
        return self.checked_encoder(load_encoder(self.meta["encoder"], path=path, beside=beside, **options))

    def checked_encoder(self, encoder: Any) -> Any:
        """Returns the encoder after a check that it is this model's own; a warning, or an error, says if it is not.

        The encoder must give two short texts the vectors that the model keeps of them. This costs the encoding of these texts. A
        model that does not keep their vectors, such as the bundled one, checks nothing.

        Raises:
            ValueError: another encoder, and a model with ``check="error"``.
        """
        known = self.meta.get("probes")
        problem = None if self.check == "off" or not known else other_encoder(known, encoder)
        if problem:
            self._complain(f"found an encoder that is not its own, {encoder!r}: {problem}")
        return encoder

    def check_index(self, index: Any) -> None:
        """A warning, or an error, for an index that another model has made, of another encoder; other indexes say no encoder."""
        other = getattr(index, "model", None)
        if not isinstance(other, ModelParts) or self.check == "off" or other.labels.dictionary == self.labels.dictionary:
            return
        own, theirs = (model.meta["encoder"].get("name") for model in (self, other))
        if own != theirs:
            self._complain(f"found an index of vectors by another encoder: {theirs!r}, its own is {own!r}")

    def _complain(self, problem: str) -> None:
        message = f"{self!r} {problem} (or use model.with_check('off'))"
        if self.check == "error":
            raise ValueError(message)
        warnings.warn(message, stacklevel=4)

    @property
    def shared_encoder(self) -> BiEncoder:
        """The encoder that :meth:`explain`, :meth:`why_not` and stages without one of their own use, loaded once."""
        return self._part("encoder", self.encoder)

    @property
    def shared_readers(self) -> dict[str, TokenEncoder]:
        """What reads the words of queries and of documents with this encoder; made once, as making it examines the encoder."""
        return self._part("readers", lambda: readers_of(self.shared_encoder))

    def _part(self, name: str, read: Callable[[], Any]) -> Any:
        if name not in self._parts:
            self._parts[name] = read()
        return self._parts[name]

    @property
    def _folder(self) -> Path:
        return Path(str(self.path))

    @property
    def _in_memory(self) -> bool:
        return isinstance(self.path, NO_PATH)
