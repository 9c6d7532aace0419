"""The chain-of-thought reasoner that the internalizers imitate (Cai et al. 2026, Table 1, "CoT reasoner")."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..documents import document_name, no_text
from ..vector_cells import unstack
from .base import RowWiseStage
from .columns import view_column

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from ..training import Teacher


class CoTReasoner(RowWiseStage):
    """Adds the explicit views of each document: a language model writes a text per aspect, the encoder embeds it.

    ``text`` (and ``title``, if there is one) in; ``doc_vec_<aspect>`` out for each aspect, the columns of
    :class:`~pyterrier_xetrieval.ReasoningInternalizer`, so that both fit before the same scorer. Documents that occur
    in many rows are asked about once. Two rows with the same text and title are one document, whatever their docnos.

    Args:
        teacher: a :class:`~pyterrier_xetrieval.training.teacher.Teacher`.
        encoder: the pyterrier_dr encoder of the documents, for the texts.
        aspects: which views to add (default: all that the teacher has prompts for).
        cache: file in which the texts are kept and looked up. :meth:`Teacher.write` makes such a file, so that one call of it
            over the corpus prepares this stage. None keeps the texts as long as this object lives.
        missing: what becomes of a view for which there is no text, because the language model failed to give one or the document
            has no text of its own (None, NaN): ``"error"``, or ``"zero"`` for a vector of zeros, which adds nothing to the score.
        verbose: show a progress bar for the texts to write.
        batch_size: documents that an index hands to this stage at once.

    Raises:
        ValueError: an aspect without a prompt; a batch size that is no positive whole number; texts that are missing; a
            cache by another model or other prompts.

    Example::

        live = CoTReasoner(Teacher(EndpointLLM("qwen3-32b", base_url=url)), model.encoder(), cache="cot.jsonl")
        first = model.encoder() >> index.retriever() >> VectorLoader(index) >> dataset.text_loader()
        pt.Experiment([first >> model.internalizer() >> model.scorer(), first >> live >> model.scorer()], …)
    """

    def __init__(
        self, teacher: Teacher, encoder: BiEncoder, *, aspects: Sequence[str] | None = None,
        cache: str | os.PathLike[str] | None = None, missing: Literal["error", "zero"] = "error", verbose: bool = False,
        batch_size: int = 1024,
    ):  # fmt: skip
        if missing not in ("error", "zero"):
            raise ValueError(f"CoTReasoner expects missing to be 'error' or 'zero', found {missing!r}")
        self.teacher, self.encoder = teacher, encoder
        self.aspects = teacher.check_aspects(aspects, stage="CoTReasoner")
        self.cache = None if cache is None else str(cache)
        self.missing, self.verbose = missing, verbose
        self.batch_size = positive_int(batch_size, "batch_size", stage="CoTReasoner")
        self._folder: str | None = None
        self._read: tuple[tuple[int, int] | None, dict[tuple[str, str], str]] | None = None

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.columns(inp, includes=["text"], context=self)
        if not len(inp):
            nothing = unstack(np.empty((0, 0), np.float32))
            return inp.assign(**{view_column(aspect): nothing for aspect in self.aspects})
        documents, rows = self._distinct(inp)
        texts = self._texts(documents)
        views = {}
        for aspect in self.aspects:
            view = self._encode([texts.get((key, aspect)) for key in documents])
            views[view_column(aspect)] = unstack(view, rows)
        return inp.assign(**views)

    def _distinct(self, inp: pd.DataFrame) -> tuple[dict[str, dict], np.ndarray]:
        """The documents by key, in order of first appearance, and which of them each row holds."""
        documents: dict[str, dict] = {}
        slots: dict[str, int] = {}
        rows = np.empty(len(inp), np.int64)
        names = [c for c in ("docno", "title", "text") if c in inp.columns]
        for i, cells in enumerate(zip(*(inp[c].array for c in names))):
            document = dict(zip(names, cells))
            if not isinstance(document["text"], str):
                if self.missing == "error":
                    raise no_text(repr(self), document_name(inp, i), document["text"], cure="give it one, or set missing='zero'")
                document["text"], document["title"] = "", None
            key = self.teacher.key(document)
            rows[i] = slots.setdefault(key, len(slots))
            documents.setdefault(key, {**document, "docno": key})
        return documents, rows

    def _texts(self, documents: dict[str, dict]) -> dict[tuple[str, str], str]:
        """Texts by (key, aspect); those that no file holds are asked for first."""
        path = self._path()
        texts = self._load(path)
        unknown = [d for key, d in documents.items() if any((key, aspect) not in texts for aspect in self.aspects)]
        if unknown:
            self.teacher.write(unknown, path, aspects=self.aspects, verbose=self.verbose)
            texts = self._load(path)
        lacking = [(key, aspect) for key in documents for aspect in self.aspects if (key, aspect) not in texts]
        if lacking and self.missing == "error":
            key, aspect = lacking[0]
            if not str(documents[key]["text"]).strip():
                raise ValueError(f"{self!r} found a document without text, of which there is nothing to say; set missing='zero'")
            raise ValueError(
                f"{self!r} got no text for {len(lacking)} of {len(documents) * len(self.aspects)} views, the first is {aspect!r} of "
                f"the document that begins {documents[key]['text'][:60]!r}; run again, or set missing='zero'"
            )
        return texts

    def _encode(self, texts: list[str | None]) -> np.ndarray:
        given = [i for i, text in enumerate(texts) if text is not None]
        # without a text, the encoder still has to say the dimension
        vectors = np.asarray(self.encoder.encode_docs([texts[i] for i in given] or ["-"]), np.float32)[: len(given)]
        if len(given) == len(texts):
            return vectors
        out = np.zeros((len(texts), vectors.shape[1]), np.float32)
        out[given] = vectors
        return out

    def _path(self) -> Path:
        if self.cache is not None:
            return Path(self.cache)
        if self._folder is None:
            self._folder = mkdtemp(prefix="cot-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return Path(self._folder, "texts.jsonl")

    def _load(self, path: Path) -> dict[tuple[str, str], str]:
        stamp = (path.stat().st_size, path.stat().st_mtime_ns) if path.exists() else None
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, self.teacher.read(path))
        return self._read[1]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_folder": None, "_read": None}
