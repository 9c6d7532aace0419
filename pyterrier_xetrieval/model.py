"""The artifact: internalizers, dictionary and labels for one encoder, and the factory of all stages."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import pyterrier as pt
import torch
from safetensors.torch import load_file, save_file

from . import __version__
from .core.checks import check_aspect_name, distinct_aspects
from .core.internalizer import Internalizer
from .core.sae import SparseAutoencoder
from .core.views import view_weights
from .encoders import load_encoder
from .labels import FeatureLabels
from .stages.explain import SAEExplainer
from .stages.internalize import ReasoningInternalizer
from .stages.intervene import FeatureIntervention
from .stages.reconstruct import Reconstructor
from .stages.score import FoldViews, MultiViewScorer
from .store.files import artifact_facts, new_folder

INTERNALIZERS, SAE, LABELS, META = "internalizers.safetensors", "sae.safetensors", "labels.tsv", "pt_meta.json"
_NO_PATH = type(pt.Artifact.NO_PATH)  # by type: a pickled model carries a copy of the sentinel
_DEFAULT = str(files("pyterrier_xetrieval") / "pretrained" / "minilm")


class Xetrieval(pt.Artifact):
    """Everything that explains one dense encoder: reasoning internalizers, sparse autoencoder, feature labels.

    A folder of ``pt_meta.json`` (facts), ``internalizers.safetensors``, ``sae.safetensors`` and ``labels.tsv``,
    loaded on first use. ``from_hf``, ``to_hf`` and ``build_package`` are those of every PyTerrier artifact.

    Args:
        path: the artifact's folder.
        device: where the weights go, e.g. ``"cuda"``; the CPU unless said otherwise.

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

    def __init__(self, path, *, device: str | None = None):
        super().__init__(path if isinstance(path, _NO_PATH) else Path(path).expanduser().absolute())
        self.device = torch.device(device or "cpu")
        if not self._in_memory:
            self.meta = self._read_meta()

    @classmethod
    def default(cls, *, device: str | None = None) -> Xetrieval:
        """The embedded model for all-MiniLM-L6-v2 (384 dimensions); see ``pretrained/minilm/README.md``."""
        return cls(_DEFAULT, device=device)

    @classmethod
    def from_parts(
        cls, *, internalizers: Mapping[str, Internalizer], sae: SparseAutoencoder,
        labels: FeatureLabels | None = None, encoder: Mapping, weights=None, facts: Mapping | None = None,
    ) -> Xetrieval:  # fmt: skip
        """A model in memory; :meth:`save` puts it on disk.

        Args:
            internalizers: aspect to module, in the order in which views are listed.
            sae: the dictionary. Of both the model has copies: a training that goes on does not change it.
            labels: names of its features, if there are any.
            encoder: description of the encoder, ``{"name": …, "dim": …}`` and what else is worth knowing.
            weights: ``w_t`` that :meth:`scorer`, :meth:`fold` and :meth:`explainer` use unless told otherwise, as in
                :class:`~pyterrier_xetrieval.MultiViewScorer`; None for 1 each (Eq. 11).
            facts: training data, seeds and figures; kept in the metadata.

        Raises:
            ValueError: parts of different dimensions, or an aspect name that is no identifier.
        """
        if not isinstance(encoder, Mapping) or "dim" not in encoder:
            raise ValueError(f"Xetrieval expects encoder to be a description with its dim, found {encoder!r}")
        if labels is not None and labels.dict_size != sae.dict_size:
            raise ValueError(f"Xetrieval expects labels of {sae.dict_size} features, found {labels.dict_size}")
        dims = {"sae": sae.dim, "encoder": encoder["dim"], **{a: module.dim for a, module in internalizers.items()}}
        if len(set(dims.values())) > 1:
            raise ValueError(f"Xetrieval expects parts of one dimension, found {dims}")
        for aspect in internalizers:
            check_aspect_name(aspect, stage="Xetrieval")
        model = cls(pt.Artifact.NO_PATH)
        model.internalizers = {a: _frozen(module) for a, module in internalizers.items()}
        model.sae = _frozen(sae)
        model.labels = FeatureLabels.empty(sae.dict_size) if labels is None else labels
        model._id = uuid.uuid4().hex
        model.meta = {
            **(facts or {}),
            "type": cls.ARTIFACT_TYPE,
            "format": cls.ARTIFACT_FORMAT,
            "package_hint": cls.ARTIFACT_PACKAGE_HINT,
            "package_version": __version__,
            "encoder": dict(encoder),
            "dim": sae.dim,
            "aspects": {aspect: {"hidden": module.hidden} for aspect, module in internalizers.items()},
            "weights": dict(zip(internalizers, view_weights(internalizers, weights, stage="Xetrieval"))),
            "sae": {"activation": sae.activation, "dict_size": sae.dict_size, "k": sae.k},
        }
        return model

    def save(self, path, *, dtype: str = "float32", card: str = "") -> Xetrieval:
        """Writes the artifact's folder, all or nothing, and returns the artifact there.

        Args:
            path: a folder that does not exist yet.
            dtype: ``"float32"`` or ``"float16"`` on disk; computation is float32 either way.
            card: text of its ``README.md``.

        Raises:
            FileExistsError: something is at ``path`` already.
        """
        if dtype not in ("float32", "float16"):
            raise ValueError(f"Xetrieval.save expects dtype 'float32' or 'float16', found {dtype!r}")
        path = Path(path).expanduser().absolute()
        if path.exists():
            raise FileExistsError(f"{path} already exists; choose another path or remove it first")
        states = {
            INTERNALIZERS: {f"{a}.{name}": w for a, m in self.internalizers.items() for name, w in m.state_dict().items()},
            SAE: self.sae.state_dict(),
        }
        with new_folder(path) as folder:
            for name, state in states.items():
                tensors = {key: w.to("cpu", getattr(torch, dtype)).contiguous() for key, w in state.items()}
                if bad := [key for key, w in tensors.items() if not w.isfinite().all()]:
                    raise ValueError(f"Xetrieval.save expects weights that {dtype} can hold, found others in {bad[0]}")
                save_file(tensors, folder / name)
                os.chmod(folder / name, 0o644)  # safetensors writes for the owner alone
            self.labels.write(folder / LABELS)
            if card:
                (folder / "README.md").write_text(card, encoding="utf-8")
            sums = {name: _sha256(folder / name) for name in states}
            meta = {**self.meta, "dtype": dtype, "sha256": sums}
            (folder / META).write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return type(self)(str(path), device=str(self.device))

    @property
    def stored_dtype(self) -> str:
        """The ``dtype`` to :meth:`save` a copy in: that of the files the weights came from, which hold nothing finer."""
        return self.meta.get("dtype", "float32") if isinstance(self.path, Path) else "float32"

    @property
    def dim(self) -> int:
        """``m``, the dimension of the encoder's vectors."""
        return self.meta["dim"]

    @property
    def aspects(self) -> tuple[str, ...]:
        """The reasoning views this model can compute."""
        return tuple(self.meta["aspects"])

    @cached_property
    def internalizers(self) -> dict[str, Internalizer]:
        """Aspect to module ``R_t``."""
        state = self._read_weights(INTERNALIZERS)
        modules = {}
        for aspect, shape in self.meta["aspects"].items():
            own = {key.removeprefix(f"{aspect}."): w for key, w in state.items() if key.startswith(f"{aspect}.")}
            modules[aspect] = self._filled(Internalizer(self.dim, shape["hidden"]), own, INTERNALIZERS)
        return modules

    @cached_property
    def sae(self) -> SparseAutoencoder:
        """The dictionary."""
        facts = self.meta["sae"]
        sae = SparseAutoencoder(self.dim, facts["dict_size"], facts["k"], activation=facts["activation"])
        return self._filled(sae, self._read_weights(SAE), SAE)

    @cached_property
    def labels(self) -> FeatureLabels:
        """Names of the dictionary's features."""
        return FeatureLabels.read(self.path / LABELS, self.meta["sae"]["dict_size"])

    def check_aspects(self, aspects, *, stage: str) -> tuple[str, ...]:
        """The given aspects as a tuple, or all of the model's if None; ValueError for one that it does not have."""
        aspects = self.aspects if aspects is None else distinct_aspects(aspects, stage=stage)
        if set(aspects) - set(self.aspects):
            raise ValueError(f"{stage} expects aspects among {list(self.aspects)}, found {list(aspects)}")
        return aspects

    def check_weights(self, weights, aspects: tuple[str, ...], *, stage: str) -> tuple[float, ...]:
        """One weight for each of the aspects: the given ones, or the model's own if None; ValueError if they do not fit."""
        if weights is None:
            return tuple(self.meta["weights"][aspect] for aspect in aspects)
        return view_weights(aspects, weights, stage=stage)

    def encoder(self, **options):
        """The pyterrier_dr encoder this model explains; ``options`` such as ``batch_size`` and ``device`` go to it."""
        return load_encoder(self.meta["encoder"], **options)

    def internalizer(self, *, aspects=None, batch_size: int = 4096) -> ReasoningInternalizer:
        """Adds the reasoning views: :class:`~pyterrier_xetrieval.ReasoningInternalizer`."""
        return ReasoningInternalizer(self, aspects=aspects, batch_size=batch_size)

    def scorer(self, *, aspects=None, weights=None) -> MultiViewScorer:
        """Scores by all views, with the model's own weights unless given: :class:`~pyterrier_xetrieval.MultiViewScorer`."""
        aspects = self.check_aspects(aspects, stage="MultiViewScorer")
        return MultiViewScorer(aspects=aspects, weights=self.check_weights(weights, aspects, stage="MultiViewScorer"))

    def fold(self, *, aspects=None, weights=None, batch_size: int = 4096) -> FoldViews:
        """Folds all views into ``doc_vec``, with the model's own weights unless given: :class:`~pyterrier_xetrieval.FoldViews`."""
        aspects = self.check_aspects(aspects, stage="FoldViews")
        weights = self.check_weights(weights, aspects, stage="FoldViews")
        return FoldViews(aspects=aspects, weights=weights, batch_size=batch_size)

    def explainer(
        self, *, aspects=None, weights=None, threshold: float = 0.0, top: int = 10, refit: bool = True, batch_size: int = 512
    ) -> SAEExplainer:
        """Explains results: :class:`~pyterrier_xetrieval.SAEExplainer`."""
        return SAEExplainer(
            self, aspects=aspects, weights=weights, threshold=threshold, top=top, refit=refit, batch_size=batch_size
        )

    def intervention(
        self, mode: str = "erase", *, features, alpha: float | None = None, target: str = "doc", aspects=None,
        reconstruct: bool = False, batch_size: int = 256,
    ) -> FeatureIntervention:  # fmt: skip
        """Edits features in vectors: :class:`~pyterrier_xetrieval.FeatureIntervention`."""
        return FeatureIntervention(
            self, mode, features=features, alpha=alpha, target=target, aspects=aspects, reconstruct=reconstruct,
            batch_size=batch_size,
        )  # fmt: skip

    def reconstructor(self, *, refit: bool = True, batch_size: int = 1024) -> Reconstructor:
        """Replaces vectors by what the dictionary makes of them: :class:`~pyterrier_xetrieval.Reconstructor`."""
        return Reconstructor(self, refit=refit, batch_size=batch_size)

    def indexer(
        self, path, *, encoder=None, aspects=None, weights=None, refit: bool = True, dtype: str = "float32", resume: bool = True,
        batch_size: int = 256, shard_size: int = 10_000,
    ):  # fmt: skip
        """Makes an index of a whole corpus: :class:`~pyterrier_xetrieval.index.XetrievalIndexer`."""
        from .index import XetrievalIndexer  # the index holds a model: it imports this file

        return XetrievalIndexer(
            self, path, encoder=encoder, aspects=aspects, weights=weights, refit=refit, dtype=dtype, resume=resume,
            batch_size=batch_size, shard_size=shard_size,
        )  # fmt: skip

    def _read_meta(self) -> dict:
        try:
            return artifact_facts(self.path, Xetrieval, {"encoder", "dim", "aspects", "weights", "sae", "sha256"})
        except FileNotFoundError:
            raise FileNotFoundError(f"no Xetrieval artifact at {self.path}: {META} is missing") from None

    def _read_weights(self, name: str) -> dict[str, torch.Tensor]:
        found, expected = _sha256(self.path / name), self.meta["sha256"][name]
        if found != expected:
            raise ValueError(f"{self.path / name} is damaged: expected sha256 {expected}, found {found}")
        return {key: w.float() for key, w in load_file(self.path / name).items()}

    def _filled(self, module: torch.nn.Module, state: dict, name: str) -> torch.nn.Module:
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{self.path / name} does not fit its metadata: {error}") from None
        return module.to(self.device).eval().requires_grad_(False)

    @property
    def _in_memory(self) -> bool:
        return isinstance(self.path, _NO_PATH)

    def _identity(self):
        return self._id if self._in_memory else (str(self.path), str(self.device))

    def __eq__(self, other) -> bool:
        return self._identity() == other._identity() if isinstance(other, Xetrieval) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        if self._in_memory:
            return f"Xetrieval.from_parts(<{self.meta['encoder'].get('name') or self.dim}>)"
        if self.path == Path(_DEFAULT):
            return "Xetrieval.default()"
        return f"Xetrieval({str(self.path)!r})"


def _sha256(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _frozen(module):
    return copy.deepcopy(module).eval().requires_grad_(False)
