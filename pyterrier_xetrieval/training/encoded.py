"""A corpus and its vectors by one encoder, made once in a work folder and gone on with after a stop."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyterrier as pt
from pyterrier_dr import FlexIndex

from .corpus import CorpusFile, Documents, Texts
from .jsonl import appending

BLOCK = 4096  # texts encoded between two files: what is done again at most after a stop
SAME = 0.99  # the cosine of one text's vectors, encoded on other devices or in other batches, is well above this


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
    """
    if isinstance(corpus, (str, Path)):
        corpus = CorpusFile(corpus)
    work = Path(work)
    with appending(work / "corpus.lock"):
        identity = encoder_identity(encoder)
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
        found = _vectors(encoder, texts([0]), stage)[0]
        if known.shape != found.shape or not known @ found >= SAME * np.linalg.norm(known) * np.linalg.norm(found):
            raise ValueError(f"{stage} found other vectors of this encoder in {path.parent}: the encoder has changed; remove it")
    if not path.is_dir():
        blocks.mkdir(parents=True, exist_ok=True)
        files = [blocks / f"{i:06d}.npy" for i in range(-(-n // BLOCK))]
        with pt.tqdm(total=n, desc=f"encode {path.stem}", unit="text", disable=not verbose) as bar:
            for i, file in enumerate(files):
                rows = range(i * BLOCK, min((i + 1) * BLOCK, n))
                if not file.is_file():
                    np.save(blocks / "unfinished.npy", _vectors(encoder, texts(rows), stage))
                    os.replace(blocks / "unfinished.npy", file)
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


def encoder_identity(encoder) -> dict:
    """What tells an encoder from others: class, model name and length."""
    if not hasattr(encoder, "encode_docs"):
        raise ValueError(f"a pyterrier_dr bi-encoder is expected, found {encoder!r}")
    kind, name = type(encoder), getattr(encoder, "model_name", None) or repr(encoder)
    if " object at 0x" in name:
        raise ValueError(f"an encoder with a model_name is expected, to know it again, found {name}")
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "name": name, "max_length": getattr(encoder, "max_length", None)}


def same_as_kept(path: Path, arguments: dict, *, stage: str, keep: bool = True) -> None:
    """Compares the arguments with those kept in a file; where there are none, keeps these, if told so.

    Raises:
        ValueError: they differ; it names all that do.
    """
    arguments = json.loads(json.dumps(arguments))
    if not path.is_file():
        if not keep:
            return
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(json.dumps(arguments, indent=1), encoding="utf-8")
        os.replace(unfinished, path)
    kept = json.loads(path.read_text(encoding="utf-8"))
    other = [f"{name}={kept.get(name)!r}, not {value!r}" for name, value in arguments.items() if kept.get(name) != value]
    if other:
        told = "; ".join(other)
        raise ValueError(f"{stage}: {path.parent} was begun with {told}; name another work folder or remove that one")
