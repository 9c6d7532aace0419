"""The artifact: what explains one encoder, made, opened, changed and saved."""

from __future__ import annotations

import copy
import os
import uuid
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pyterrier as pt
import torch

from . import __version__, model_files
from .core.batches import device_of
from .core.checks import check_aspect_name, distinct_aspects, found_type, found_value
from .core.internalizer import Internalizer
from .core.mean_document import MeanDocument
from .core.sae import SparseAutoencoder
from .core.vector_facts import CHECKS, VectorFacts
from .core.views import view_weights
from .encoders import encoder_identity
from .labels import FeatureLabels
from .model_parts import NO_PATH, ModelParts
from .model_tools import ModelTools
from .store.files import artifact_kind, new_folder

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

Module = TypeVar("Module", bound=torch.nn.Module)
_DEFAULT = str(files("pyterrier_xetrieval") / "pretrained" / "minilm")


class Xetrieval(ModelTools, ModelParts):
    """Everything that explains one dense encoder: reasoning internalizers, sparse autoencoder, feature labels.

    A folder of ``pt_meta.json`` (facts), ``internalizers.safetensors``, ``sae.safetensors`` and ``labels.tsv``,
    loaded on first use. ``from_hf``, ``to_hf`` and ``build_package`` are those of every PyTerrier artifact.

    Args:
        path: the artifact's folder.
        device: where the weights go, e.g. ``"cuda"``, or 0 for the first accelerator; the CPU unless said otherwise.

    Raises:
        FileNotFoundError: no artifact at ``path``.
        ValueError: another kind of artifact, or a file whose content does not fit its checksum.

    Example::

        model = Xetrieval.default()
        index = FlexIndex("corpus.flex")
        (model.encoder() >> index).index(corpus)
        multi_view = VectorLoader(index) >> model.internalizer() >> model.scorer()
        pipeline = model.encoder() >> index.retriever() >> multi_view >> model.explainer()
    """

    ARTIFACT_TYPE, ARTIFACT_FORMAT, ARTIFACT_PACKAGE_HINT = "dense_explainer", "xetrieval", "pyterrier_xetrieval"

    def __init__(self, path: str | os.PathLike[str], *, device: str | int | torch.device | None = None):
        in_memory = isinstance(path, NO_PATH)
        super().__init__(path if in_memory else Path(path).expanduser().absolute())  # type: ignore[arg-type]  # of pyterrier's sentinel
        self.device = device_of(device)
        self.check = "warn"
        self._id = ""  # tells models in memory apart
        self._parts = {}
        if not in_memory:
            self.meta = model_files.read_facts(self._folder, Xetrieval)
            self._parts = model_files.parts_of(self._folder, self.device)
            self._weights = {aspect: self.meta["weights"][aspect] for aspect in self.meta["aspects"]}

    @classmethod
    def default(cls, *, device: str | int | torch.device | None = None) -> Xetrieval:
        """The bundled model for all-MiniLM-L6-v2 (384 dimensions); see ``pretrained/minilm/README.md``."""
        return cls(_DEFAULT, device=device)

    @classmethod
    def from_parts(
        cls, *, internalizers: Mapping[str, Internalizer], sae: SparseAutoencoder,
        labels: FeatureLabels | None = None, encoder: Mapping,
        weights: float | Sequence[float] | Mapping[str, float] | None = None, facts: Mapping | None = None,
        means: Mapping[str, MeanDocument] | None = None, sample: np.ndarray | None = None,
    ) -> Xetrieval:  # fmt: skip
        """A model in memory; :meth:`save` puts it on disk.

        What the encoder's vectors look like is known if ``sample`` has some of them. Without it, and without ``"vectors"`` in
        ``facts``, vectors of another encoder are not noticed (:meth:`with_check`), and their length is taken for 1: whether the
        dictionary's bias is long (:attr:`has_long_bias`), so that explanations are measured against a mean document, is then
        answered wrongly for vectors of another length.

        Args:
            internalizers: aspect to module, in the order in which views are listed.
            sae: the dictionary. Of both the model has copies: a training that goes on does not change it.
            labels: names of its features, if there are any.
            encoder: description of the encoder, ``{"name": …, "dim": …}`` and what else is worth knowing.
            weights: ``w_t`` of the views: one number for all, one for each, or a mapping; None for 1 each (Eq. 11).
            facts: training data, seeds and figures; kept in the metadata.
            means: the mean training document in each view (``"original"`` and the aspects). Where the dictionary's bias is long,
                scores are measured against it (:meth:`mean_document`).
            sample: float ``[n, m]``, vectors of the encoder, a few hundred at least; up to 4,096 are measured
                (:meth:`.VectorFacts.measure`), in place of what ``facts`` say of them.

        Raises:
            ValueError: parts of different dimensions, labels of another number of features, an encoder without its ``dim``, an
                aspect name that is no identifier, or a sample that is no vectors of the encoder's dimension.

        Example::

            sae = read_sae("pythia/trainer_8")  # of another library
            vectors = encoder.encode_docs(texts)
            model = Xetrieval.from_parts(
                internalizers={}, sae=sae, encoder={"name": "my-e5", "dim": sae.dim}, sample=vectors
            )
        """
        if not isinstance(sae, SparseAutoencoder):
            raise ValueError(
                f"Xetrieval expects sae to be a SparseAutoencoder, as read_sae(path) gives it, found {found_type(sae)}"
            )
        if not isinstance(encoder, Mapping) or "dim" not in encoder:
            raise ValueError(f"Xetrieval expects encoder to be a description with its dim, found {found_value(encoder)}")
        if labels is not None and labels.dict_size != sae.dict_size:
            raise ValueError(f"Xetrieval expects labels of {sae.dict_size} features, found {labels.dict_size}")
        dims = {"sae": sae.dim, "encoder": encoder["dim"], **{a: module.dim for a, module in internalizers.items()}}
        if len(set(dims.values())) > 1:
            raise ValueError(f"Xetrieval expects parts of one dimension, found {dims}")
        for aspect in internalizers:
            check_aspect_name(aspect, stage="Xetrieval")
        if sample is not None and (np.ndim(sample) != 2 or np.shape(sample)[1] != sae.dim or not np.isfinite(sample).all()):
            raise ValueError(
                f"Xetrieval expects sample to be finite vectors of shape [n, {sae.dim}], found shape {np.shape(sample)}"
            )
        measured = {} if sample is None else {"vectors": VectorFacts.measure(sae, sample).to_dict()}
        model = cls(pt.Artifact.NO_PATH)  # type: ignore[arg-type]  # pyterrier's sentinel: the parts are in memory
        model._parts = {
            "internalizers": {aspect: _frozen(module) for aspect, module in internalizers.items()},
            "sae": _frozen(sae),
            "labels": FeatureLabels.empty(sae.dict_size) if labels is None else labels,
            "means": dict(means or {}),
        }
        model._id = uuid.uuid4().hex
        model._weights = dict(zip(internalizers, view_weights(list(internalizers), weights, stage="Xetrieval")))
        model.meta = {
            **(facts or {}),
            **measured,
            **artifact_kind(cls),
            "package_version": __version__,
            "encoder": dict(encoder),
            "dim": sae.dim,
            "aspects": {aspect: {"hidden": module.hidden} for aspect, module in internalizers.items()},
            "weights": dict(model._weights),
            "sae": {"activation": sae.activation, "dict_size": sae.dict_size, "k": sae.k},
        }
        return model

    def with_views(
        self, aspects: Sequence[str] | None = None, weights: float | Sequence[float] | Mapping[str, float] | None = None
    ) -> Xetrieval:
        """The same model with fewer views, or with other weights of them; this one stays as it is.

        All stages that the returned model makes work on these views. Nothing is loaded twice.

        Args:
            aspects: the views beside the original one, among those of this model; ``()`` for none; None for all of
                its own.
            weights: ``w_t`` of each of them: one number for all, one for each, or a mapping; None for this model's own.

        Raises:
            ValueError: an aspect that this model does not have, or weights that do not fit.

        Example::

            pt.GridSearch(dense >> model.internalizer() >> scorer, {scorer: {"model": [
                model.with_views(weights=w) for w in (0.1, 0.2, 0.5)]}}, topics, qrels, "ndcg_cut_10")

        The keys of such a grid are stages, and two equal stages are one key.
        """
        chosen = self.aspects if aspects is None else distinct_aspects(aspects, stage="Xetrieval.with_views")
        if set(chosen) - set(self.aspects):
            raise ValueError(f"Xetrieval.with_views expects aspects among {list(self.aspects)}, found {list(chosen)}")
        own = [self._weights[aspect] for aspect in chosen]
        used = own if weights is None else view_weights(chosen, weights, stage="Xetrieval.with_views")
        return self._with(_weights=dict(zip(chosen, used)))

    def with_check(self, check: Literal["warn", "error", "off"]) -> Xetrieval:
        """The same model with another reaction to vectors that its encoder does not give; this one stays as it is.

        Vectors of another encoder, and vectors that were not normalised, have scores and features like any others, but their
        explanations mean nothing. The stages that read features check the vectors once, as they come in: their mean length, and
        the share that the dictionary leaves unexplained (:class:`~.core.vector_facts.VectorFacts`).

        Args:
            check: ``"warn"``, the default of a model; ``"error"`` to refuse such vectors with a ValueError; ``"off"`` not to
                check.

        Raises:
            ValueError: another word.

        Example::

            >>> Xetrieval.default().with_check("error").check
            'error'
        """
        if check not in CHECKS:
            raise ValueError(f"Xetrieval.with_check expects check to be one of {CHECKS}, found {check!r}")
        return self._with(check=check)

    def with_encoder(self, encoder: BiEncoder | str | os.PathLike[str]) -> Xetrieval:
        """The same model with its encoder given: one that has no name to load it by, or that is elsewhere now.

        :meth:`encoder`, :meth:`explain`, :meth:`why_not`, :meth:`relabel` and the stages that read words use it. A saved or
        pickled model does not keep it.

        Args:
            encoder: the pyterrier_dr bi-encoder; or the folder of the one that the model names.

        Raises:
            ValueError: no bi-encoder; with ``check="error"`` another encoder than the model's own.
            FileNotFoundError: no such folder.

        Example::

            model = Xetrieval("my-model").with_encoder(MyBiEncoder())
            model.explain("sort a list", "Return a new sorted list.")
        """
        if isinstance(encoder, (str, os.PathLike)):
            encoder = self.encoder(path=encoder)
        else:
            encoder_identity(encoder, ["encode_queries", "encode_docs"], stage="Xetrieval.with_encoder")
            encoder = self.checked_encoder(encoder)
        kept = {name: part for name, part in self._parts.items() if name not in ("encoder", "readers")}
        return self._with(_parts={**kept, "given encoder": encoder})

    def _with(self, **changed: Any) -> Xetrieval:
        model = object.__new__(type(self))  # copy.copy would go the way of a pickle, which leaves the encoder behind
        model.__dict__.update(self.__dict__, **changed)
        return model

    def save(self, path: str | os.PathLike[str], *, dtype: str = "float32", card: str = "") -> Xetrieval:
        """Writes the artifact's folder, all or nothing, and returns the artifact there.

        Args:
            path: a folder that does not exist yet.
            dtype: ``"float32"`` or ``"float16"`` on disk; computation is float32 either way.
            card: text of its ``README.md``.

        Raises:
            FileExistsError: something is at ``path`` already.
            ValueError: another dtype.
        """
        if dtype not in ("float32", "float16"):
            raise ValueError(f"Xetrieval.save expects dtype 'float32' or 'float16', found {dtype!r}")
        path = Path(path).expanduser().absolute()
        if path.exists():
            raise FileExistsError(f"{path} already exists; choose another path or remove it first")
        own_aspects = {aspect: self.meta["aspects"][aspect] for aspect in self.aspects}
        meta = {**self.meta, "dtype": dtype, "weights": self.weights, "aspects": own_aspects}
        with new_folder(path) as folder:
            model_files.write(folder, self.internalizers, self.sae, self.labels, meta, card, self.means)
        return type(self)(str(path), device=str(self.device)).with_check(self.check)

    @property
    def stored_dtype(self) -> str:
        """The ``dtype`` to :meth:`save` a copy in: that of the files the weights came from, which hold nothing finer."""
        return self.meta.get("dtype", "float32") if isinstance(self.path, Path) else "float32"

    def __getstate__(self) -> dict:
        # an encoder is opened again where it is needed
        return {
            **self.__dict__,
            "_parts": {name: part for name, part in self._parts.items() if name not in ("encoder", "given encoder", "readers")},
        }

    def _identity(self) -> tuple:
        own = (self._id,) if self._in_memory else (str(self.path), str(self.device))
        return *own, self.check, *self._weights.items()

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Xetrieval) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        if self._in_memory:
            name = f"Xetrieval.from_parts(<{self.meta['encoder'].get('name') or self.dim}>)"
        elif self.path == Path(_DEFAULT):
            name = "Xetrieval.default()"
        else:
            name = f"Xetrieval({str(self.path)!r})"
        if self._weights != self.meta["weights"]:
            name = f"{name}.with_views(weights={self._weights})"
        return name if self.check == "warn" else f"{name}.with_check({self.check!r})"


def _frozen(module: Module) -> Module:
    return copy.deepcopy(module).eval().requires_grad_(False)
