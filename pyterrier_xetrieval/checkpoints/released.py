"""The checkpoints of the released Xetrieval program (Cai et al. 2026, arXiv:2605.29507)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.internalizer import Internalizer
from ..core.sae import SparseAutoencoder
from ..labels import FeatureLabels
from ..model import Xetrieval
from .dictionary_learning import TOPK
from .layouts import Layout, build, one_k, read_state_dict, take

RELEASED_ENCODER = {"name": "intfloat/e5-large-v2", "dim": 1024}
RELEASED_ASPECTS = ("summary", "purpose", "qa")
_INTERNALIZER: Layout = {
    "layer1.weight": ("net.0.weight", "hm"), "layer1.bias": ("net.0.bias", "h"),
    "layer2.weight": ("net.2.weight", "mh"), "layer2.bias": ("net.2.bias", "m"),
}  # fmt: skip


def read_internalizer(path: str | os.PathLike[str]) -> Internalizer:
    """A released internalizer, ``model_<aspect>.pt``, in evaluation mode, its parameters without gradients.

    ``net.0.weight [h,m]``, ``net.0.bias [h]``, ``net.2.weight [m,h]``, ``net.2.bias [m]``.
    """
    tensors = take(read_state_dict(path), _INTERNALIZER, path)
    hidden, dim = tensors["layer1.weight"].shape
    module = Internalizer(dim, hidden)
    module.load_state_dict(tensors)
    return module.eval().requires_grad_(False)


def read_topk_sae(path: str | os.PathLike[str]) -> SparseAutoencoder:
    """A released dictionary, ``sae_model.pt``: the TopK autoencoder of the ``dictionary_learning`` library.

    ``encoder.weight [D,m]``, ``encoder.bias [D]``, ``decoder.weight [m,D]``, ``b_dec [m]`` and the buffer ``k``. A
    stored ``threshold`` is not used: the rule is the k largest activations, as in the released program. The result is in
    evaluation mode, its parameters without gradients.

    Raises:
        ValueError: a tensor is missing, shapes disagree, or ``k`` is missing (it cannot be guessed) or no number of features.
    """
    state = read_state_dict(path)
    k = one_k(path, state.get("k"))
    return build(take(state, TOPK, path), "topk", path, k=k)


def read_released(
    internalizer_dir: str | os.PathLike[str],
    sae_path: str | os.PathLike[str],
    hypotheses_path: str | os.PathLike[str] | None = None,
    *,
    encoder: Mapping[str, Any] = RELEASED_ENCODER,
    sample: np.ndarray | None = None,
) -> Xetrieval:
    """The released Xetrieval checkpoints as a model in memory; ``.save(path)`` makes an artifact of it.

    Args:
        internalizer_dir: folder with ``model_summary.pt``, ``model_purpose.pt`` and ``model_qa.pt``.
        sae_path: ``sae_model.pt``.
        hypotheses_path: text file, line ``i`` the hypothesis of feature ``i``; optional.
        encoder: description of the encoder they were trained for; the release's is e5-large-v2.
        sample: float ``[n, m]``, vectors of documents by this encoder. Without them the model does not notice vectors of another
            encoder, and takes theirs to have length 1 (:meth:`~pyterrier_xetrieval.Xetrieval.from_parts`).

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint of another format, or parts that do not fit together.

    Example::

        model = read_released("checkpoints/reasoning_internalizer", "checkpoints/sae_model.pt", "hypotheses.txt")
        multi_view = VectorLoader(index) >> model.internalizer() >> model.scorer()
        pipeline = model.encoder() >> index.retriever() >> multi_view >> model.explainer()
    """
    internalizers = {aspect: read_internalizer(Path(internalizer_dir, f"model_{aspect}.pt")) for aspect in RELEASED_ASPECTS}
    sae = read_topk_sae(sae_path)
    labels = FeatureLabels.read_hypotheses(hypotheses_path, sae.dict_size) if hypotheses_path else None
    source = {"source": "released Xetrieval checkpoints (Cai et al. 2026, arXiv:2605.29507)"}
    return Xetrieval.from_parts(internalizers=internalizers, sae=sae, labels=labels, encoder=encoder, facts=source, sample=sample)
