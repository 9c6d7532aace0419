"""Other people's formats: the checkpoints of the released Xetrieval program."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

from .internalizer import Internalizer
from .labels import FeatureLabels
from .model import Xetrieval
from .sae import SparseAutoencoder

RELEASED_ENCODER = {"name": "intfloat/e5-large-v2", "dim": 1024}
RELEASED_ASPECTS = ("summary", "purpose", "qa")
_WRAPPERS, _PREFIXES = ("state_dict", "model_state_dict"), ("module.", "_orig_mod.")


def read_state_dict(path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.pt`` file: a plain state dict, or one under ``state_dict`` or ``model_state_dict``.

    Prefixes that ``DataParallel`` (``module.``) and ``torch.compile`` (``_orig_mod.``) leave, in any order, are taken
    off. Read with ``weights_only=True``: a file that needs code to run is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no state dict of tensors in the file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is no checkpoint of plain tensors: {error}") from None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} expects a state dict, found {type(content).__name__}")
    state = {}
    for key, value in content.items():
        while key.startswith(_PREFIXES):
            key = key.split(".", 1)[1]
        state[key] = value
    return state


def _take(state: dict, shapes: dict[str, tuple[str, ...]], path) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    """The named tensors as float32, and the sizes that their shapes agree on."""
    sizes: dict[str, int] = {}
    for key, names in shapes.items():
        if key not in state:
            raise ValueError(f"{path} has no {key!r}; found {sorted(state)}")
        if state[key].ndim != len(names):
            raise ValueError(f"{path}: {key} expects shape [{', '.join(names)}], found {list(state[key].shape)}")
        for name, size in zip(names, state[key].shape):
            if sizes.setdefault(name, size) != size:
                raise ValueError(f"{path}: {key} expects {name}={sizes[name]}, found shape {list(state[key].shape)}")
    return {key: state[key].float() for key in shapes}, sizes


def read_internalizer(path) -> Internalizer:
    """A released internalizer, ``model_<aspect>.pt``.

    ``net.0.weight [h,m]``, ``net.0.bias [h]``, ``net.2.weight [m,h]``, ``net.2.bias [m]``.
    """
    keys = {"net.0.weight": ("h", "m"), "net.0.bias": ("h",), "net.2.weight": ("m", "h"), "net.2.bias": ("m",)}
    state, sizes = _take(read_state_dict(path), keys, path)
    module = Internalizer(sizes["m"], sizes["h"])
    names = {"net.0": "layer1", "net.2": "layer2"}
    module.load_state_dict({f"{names[key.rsplit('.', 1)[0]]}.{key.rsplit('.', 1)[1]}": w for key, w in state.items()})
    return module


def read_topk_sae(path) -> SparseAutoencoder:
    """A released dictionary, ``sae_model.pt``: the TopK autoencoder of the ``dictionary_learning`` library.

    ``encoder.weight [D,m]``, ``encoder.bias [D]``, ``decoder.weight [m,D]``, ``b_dec [m]`` and the buffer ``k``. A
    stored ``threshold`` is not used: the rule is the k largest activations, as in the released program.

    Raises:
        ValueError: a tensor is missing, shapes disagree, or ``k`` is missing: it cannot be guessed.
    """
    state = read_state_dict(path)
    if "k" not in state:
        raise ValueError(f"{path} does not say its k; found {sorted(state)}")
    keys = {"encoder.weight": ("D", "m"), "encoder.bias": ("D",), "decoder.weight": ("m", "D"), "b_dec": ("m",)}
    tensors, sizes = _take(state, keys, path)
    sae = SparseAutoencoder(sizes["m"], sizes["D"], int(state["k"]))
    decoder = tensors["decoder.weight"].T.contiguous()
    sae.load_state_dict(
        {"w_enc": tensors["encoder.weight"], "b_enc": tensors["encoder.bias"], "w_dec": decoder, "b_dec": tensors["b_dec"]}
    )
    return sae


def read_released(internalizer_dir, sae_path, hypotheses_path=None, *, encoder: Mapping = RELEASED_ENCODER) -> Xetrieval:
    """The released Xetrieval checkpoints as a model in memory; ``.save(path)`` makes an artifact of it.

    Args:
        internalizer_dir: folder with ``model_summary.pt``, ``model_purpose.pt`` and ``model_qa.pt``.
        sae_path: ``sae_model.pt``.
        hypotheses_path: text file, line ``i`` the hypothesis of feature ``i``; optional.
        encoder: description of the encoder they were trained for; the release's is e5-large-v2.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint of another format, or parts that do not fit together.

    Example::

        model = read_released("checkpoints/reasoning_internalizer", "checkpoints/sae_model.pt", "hypotheses.txt")
        pipeline = model.encoder() >> index.retriever() >> VectorLoader(index) >> model.internalizer() >> model.explainer()
    """
    internalizers = {aspect: read_internalizer(Path(internalizer_dir, f"model_{aspect}.pt")) for aspect in RELEASED_ASPECTS}
    sae = read_topk_sae(sae_path)
    labels = FeatureLabels.read_hypotheses(hypotheses_path, sae.dict_size) if hypotheses_path else None
    source = {"source": "released Xetrieval checkpoints (Cai et al. 2026, arXiv:2605.29507)"}
    return Xetrieval.from_parts(internalizers=internalizers, sae=sae, labels=labels, encoder=encoder, facts=source)
