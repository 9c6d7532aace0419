"""A corpus and its vectors by one encoder, made once in a work folder and gone on with after a stop."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyterrier as pt
from pyterrier_dr import FlexIndex

from ..datasets.corpus_file import CorpusFile, Documents, Texts
from ..encoders import check_same_encoder, encoder_identity
from ..store.files import replacing, same_as_kept
from ..store.jsonl import appending

BLOCK = 4096  # texts encoded between two files: what is done again at most after a stop


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


def encode_corpus(corpus, encoder, work, *, stage: str = "encode_corpus", verbose: bool = False) -> EncodedCorpus:
    """Encodes a corpus into ``WORK/corpus.flex``, with its documents in ``WORK/documents``; goes on where it stopped.

    Args:
        corpus: iterable of {docno, text}, a function that returns one, or a path as :class:`CorpusFile` reads it.
        encoder: a pyterrier_dr bi-encoder.
        work: the folder; that of another call with the same corpus and encoder spares the encoding.
        stage: who asks; named in errors.
        verbose: show a progress bar.

    Raises:
        ValueError: the folder is of another corpus or encoder; documents as in :meth:`Documents.store`; vectors that
            are not finite.
        RuntimeError: another run is at work there.

    Example::

        encoded = encode_corpus("corpus.jsonl", MiniLM(), "work", verbose=True)
        encoded.index.np_vecs()                     # float32 [n, 384], a memory map
    """
    if isinstance(corpus, (str, Path)):
        corpus = CorpusFile(corpus)
    work = Path(work)
    with appending(work / "corpus.lock"):
        identity = encoder_identity(encoder, ["encode_docs"], stage=stage)
        same_as_kept(work / "encoder.json", identity, stage=stage, keep=False)
        documents = Documents.store(corpus() if callable(corpus) else corpus, work / "documents", stage=stage)
        same_as_kept(work / "encoder.json", identity, stage=stage)
        docnos = (document["docno"] for document in documents)
        index = encode(documents.texts, docnos, len(documents), encoder, work / "corpus.flex", stage=stage, verbose=verbose)
    return EncodedCorpus(documents, index)


def encode(
    texts: Callable[[Sequence[int]], list[str]], docnos: Iterable[str], n: int, encoder, path: Path, *, stage: str, verbose: bool
) -> FlexIndex:
    """A FlexIndex at ``path`` of the texts of rows 0 … n-1, block by block; blocks that are there are not encoded again."""
    blocks, partial = path.with_suffix(".blocks"), path.with_suffix(".partial")
    first, known = blocks / "000000.npy", None
    if path.is_dir():
        known = FlexIndex(str(path), verbose=False).np_vecs()[0]
    elif first.is_file():
        known = np.load(first, mmap_mode="r")[0]
    if known is not None:
        check_same_encoder(known, _vectors(encoder, texts([0]), stage)[0], path.parent, stage=stage)
    if not path.is_dir():
        blocks.mkdir(parents=True, exist_ok=True)
        files = [blocks / f"{i:06d}.npy" for i in range(-(-n // BLOCK))]
        with pt.tqdm(total=n, desc=f"encode {path.stem}", unit="text", disable=not verbose) as bar:
            for i, file in enumerate(files):
                rows = range(i * BLOCK, min((i + 1) * BLOCK, n))
                if not file.is_file():
                    block = _vectors(encoder, texts(rows), stage)
                    with replacing(file, "wb") as out:
                        np.save(out, block)
                bar.update(len(rows))
        shutil.rmtree(partial, ignore_errors=True)
        vectors = (vector for file in files for vector in np.load(file, mmap_mode="r"))
        FlexIndex(str(partial), verbose=False).index({"docno": d, "doc_vec": v} for d, v in zip(docnos, vectors))
        partial.rename(path)
    shutil.rmtree(blocks, ignore_errors=True)
    return FlexIndex(str(path), verbose=False)


def _vectors(encoder, texts: list[str], stage: str) -> np.ndarray:
    vectors = np.asarray(encoder.encode_docs(texts), np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ValueError(f"{stage} expects a finite vector for each of {len(texts)} texts, found shape {vectors.shape}")
    return vectors
