"""A corpus and its vectors by one encoder, made once in a work folder and continued after an interruption."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import pyterrier as pt

from ..documents import Missing
from ..encoders import check_same_encoder, encoder_identity
from ..store.files import new_folder, replacing, same_as_kept
from ..store.jsonl import appending
from .corpus_file import CorpusFile, Documents, Texts

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder, FlexIndex

Corpus: TypeAlias = str | os.PathLike[str] | Iterable[dict[str, Any]] | pd.DataFrame | Callable[[], Iterable[dict[str, Any]]]
BLOCK = 512  # texts per file of vectors: at most so many are encoded again after an interruption
STEP = 128  # texts after which the bar moves, or a batch if that is larger; some encoders need a second for a text


@dataclass(frozen=True)
class EncodedCorpus:
    """Documents and, row by row, their vectors."""

    documents: Documents
    index: FlexIndex

    @property
    def docnos(self) -> list[str]:
        return [document["docno"] for document in self.documents]

    @property
    def texts(self) -> Sequence[str]:
        """The texts as a sequence that reads each from the disk when it is asked for."""
        return Texts(self.documents)


def encode_corpus(
    corpus: Corpus,
    encoder: BiEncoder,
    work: str | os.PathLike[str],
    *,
    missing: Missing = "error",
    stage: str = "encode_corpus",
    verbose: bool = False,
) -> EncodedCorpus:
    """Encodes a corpus into ``WORK/corpus.flex``, with its documents in ``WORK/documents``; the same call continues it.

    Args:
        corpus: iterable of {docno, text}, a data frame with these columns, a function that returns one of them, or a path as
            :class:`CorpusFile` reads it.
        encoder: a pyterrier_dr bi-encoder.
        work: the folder; where an earlier call has encoded the same corpus with the same encoder, nothing is encoded again.
        missing: as in :class:`CorpusFile`.
        stage: name of the caller, for errors.
        verbose: show a progress bar.

    Raises:
        ValueError: the folder is of another corpus or encoder; documents as in :meth:`Documents.store`; vectors that
            are not finite.
        RuntimeError: another run is at work there.

    Example::

        encoded = encode_corpus("corpus.jsonl", MiniLM(), "work", verbose=True)
        encoded.index.np_vecs()                     # float32 [n, 384], a memory map
    """
    work = Path(work)
    documents = stored_documents(corpus, encoder, work, missing=missing, stage=stage)
    return encode_stored(documents, encoder, work, stage=stage, verbose=verbose)


def stored_documents(corpus: Corpus, encoder: BiEncoder, work: Path, *, missing: Missing = "error", stage: str) -> Documents:
    """The first half of :func:`encode_corpus`: documents in a work folder that is of this encoder; nothing is encoded yet."""
    if isinstance(corpus, (str, os.PathLike)):
        corpus = CorpusFile(corpus, missing=missing)
    with appending(work / "corpus.lock"):
        identity = encoder_identity(encoder, ["encode_docs"], stage=stage)
        same_as_kept(work / "encoder.json", identity, stage=stage, keep=False)
        given = corpus() if callable(corpus) else corpus
        documents = Documents.store(given, work / "documents", stage=stage, missing=missing)
        same_as_kept(work / "encoder.json", identity, stage=stage)
        return documents


def encode_stored(documents: Documents, encoder: BiEncoder, work: Path, *, stage: str, verbose: bool = False) -> EncodedCorpus:
    """The second half: the vectors of :func:`stored_documents`."""
    with appending(work / "corpus.lock"):
        docnos = [document["docno"] for document in documents]
        index = encode_texts(documents.texts, docnos, encoder, work / "corpus.flex", stage=stage, verbose=verbose)
    return EncodedCorpus(documents, index)


def encoded_so_far(path: Path, texts: int) -> int:
    """How many of the texts of :func:`encode_texts` have their vectors in the index at ``path``, or in blocks beside it."""
    return texts if path.is_dir() else min(texts, BLOCK * len(list(path.with_suffix(".blocks").glob("*.npy"))))


def encode_texts(
    texts: Callable[[Sequence[int]], list[str]],
    docnos: Sequence[str],
    encoder: BiEncoder,
    path: Path,
    *,
    stage: str,
    verbose: bool = False,
) -> FlexIndex:
    """A FlexIndex at ``path`` of the vectors of texts; what an earlier call has encoded is not encoded again.

    Args:
        texts: from row numbers to texts; there is one for each docno.
        docnos: names of the rows.
        encoder: a pyterrier_dr bi-encoder.
        path: the index; until it is finished, blocks of vectors are in a folder ``<name>.blocks`` beside it.
        stage: name of the caller, for errors.
        verbose: show a progress bar.

    Raises:
        ValueError: vectors that are not finite, or of another encoder than those that are there.
    """
    from pyterrier_dr import FlexIndex

    blocks = path.with_suffix(".blocks")
    files = [blocks / f"{i:06d}.npy" for i in range(-(-len(docnos) // BLOCK))]
    known = None
    if path.is_dir():
        known = FlexIndex(str(path), verbose=False).np_vecs()[0]
    elif files[0].is_file():
        known = np.load(files[0], mmap_mode="r")[0]
    if known is not None:
        check_same_encoder(known, finite_vectors(encoder.encode_docs, texts([0]), stage=stage)[0], path.parent, stage=stage)
    step = max(STEP, getattr(encoder, "batch_size", None) or 0)
    if not path.is_dir():
        blocks.mkdir(parents=True, exist_ok=True)
        with pt.tqdm(total=len(docnos), desc=f"encode {path.stem}", unit="text", disable=not verbose) as bar:
            for i, file in enumerate(files):
                rows = range(i * BLOCK, min((i + 1) * BLOCK, len(docnos)))
                if file.is_file() and len(np.load(file, mmap_mode="r")) == len(rows):  # else of blocks of another size
                    bar.update(len(rows))
                    continue
                parts = []
                for start in range(0, len(rows), step):  # the bar moves from the first texts on, and says how long is left
                    own = rows[start : start + step]
                    parts.append(finite_vectors(encoder.encode_docs, texts(own), stage=stage))
                    bar.update(len(own))
                with replacing(file, "wb") as out:
                    np.save(out, np.concatenate(parts))
        vectors = (vector for file in files for vector in np.load(file, mmap_mode="r"))
        with new_folder(path) as unfinished:
            indexer = FlexIndex(str(unfinished), verbose=False).indexer(mode="overwrite")  # the folder is there already
            indexer.index({"docno": docno, "doc_vec": vector} for docno, vector in zip(docnos, vectors))
    shutil.rmtree(blocks, ignore_errors=True)
    return FlexIndex(str(path), verbose=False)


def finite_vectors(encode: Callable[[list[str]], np.ndarray], texts: list[str], *, stage: str) -> np.ndarray:
    """What an encoder makes of texts, float32 ``[n, m]``; ValueError for NaN, infinity or another number of vectors."""
    vectors = np.asarray(encode(texts), np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ValueError(f"{stage} expects a finite vector for each of {len(texts)} texts, found shape {vectors.shape}")
    return vectors
