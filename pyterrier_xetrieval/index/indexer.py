"""The stage at the end of an indexing pipeline: documents with vectors in, a :class:`XetrievalIndex` out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyterrier as pt

from .. import __version__
from ..core.checks import found_value, is_missing, positive_int
from ..core.evidence import WordVectors
from ..documents import Missing, TextCheck, checked_missing, docno_of, documents_in
from ..encoders import same_direction
from ..model import Xetrieval
from ..stages.base import Stage
from ..stages.columns import VectorColumns
from ..store.facts import check_facts, is_count, read_json
from ..store.files import artifact_kind
from ..store.surrogates import repaired
from ..token_vectors import TokenEncoder
from .artifact import XetrievalIndex
from .blocks import encode_documents, fingerprint
from .deletion import read_deleted
from .docnos import SeenDocnos, check_docno, read_docnos
from .storage import EVIDENCE, MATRIX, MAX_VIEWS, META, TEXTS, VECTORS, VERSION, Layout
from .writing import ShardWriter


class XetrievalIndexer(pt.Indexer):
    """Indexes a corpus of any length in bounded memory, shard by shard: ``(encoder >> model.indexer(path)).index(corpus)``.

    A run that was cut off goes on from its last finished shard when it is started again with the same corpus and
    encoder (it compares a few vectors); nothing can be loaded from ``path`` before the whole index is finished. The model
    is stored with the index.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`. Its aspects and weights are those of the folded vectors, for
            good; ``model.with_views(…)`` is one with others.
        path: the index's folder.
        encoder: adds ``doc_vec``. When a run is resumed, it encodes only documents that no finished shard holds, and one of
            the others, to check that it is the same encoder. None where the pipeline has added ``doc_vec`` already
            (``encoder >> indexer`` encodes finished documents again when a run is resumed).
        refit: store coefficients refitted by least squares, as :class:`~pyterrier_xetrieval.SAEExplainer` uses them.
        dtype: of the stored vectors, original and folded; ``"float16"`` takes half the bytes. Vectors are rounded before
            anything is computed from them, so that codes, scores and explanations are those of the stored vectors.
        texts: keep the texts of the documents, compressed (prose in about half of its bytes): the column ``text``, or the
            text field of ``encoder``.
        evidence: keep the strongest words of each feature of each document, at most 1,000 bytes a document, and the texts;
            needs ``encoder``, which must average its token vectors. The vectors are those of the same forward pass.
        missing: what becomes of a document whose text is needed (by ``encoder``, or with ``texts``) and is missing (None, NaN)
            or no string: ``"error"``, or ``"drop"``, which leaves it out and warns how many were left out.
        resume: False drops what a run that was cut off left.
        batch_size: documents encoded at once.
        shard_size: documents per shard: what is done again at most after a run was cut off.
        verbose: show a progress bar.

    Raises:
        ValueError: a document without ``docno``, ``doc_vec`` or a text that is to be kept, a docno twice or of more than 4,096
            bytes, vectors of another dimension, NaN or infinite; no documents; a corpus that does not begin with the documents
            of the finished shards, or not with their vectors; evidence without an encoder, or with one that does not average
            its token vectors.
        FileExistsError: a finished index or something else at ``path``, or another writer.

    Example::

        index = (model.encoder() >> model.indexer("corpus.xetrieval")).index(corpus)     # an XetrievalIndex
        model.indexer("corpus.xetrieval", encoder=model.encoder()).index(corpus)         # resumed without encoding again
    """

    schematic = {"label": "XetrievalIndexer", "help_url": Stage.help_url}

    def __init__(
        self, model: Xetrieval, path: str | os.PathLike[str], *, encoder: pt.Transformer | None = None, refit: bool = True,
        dtype: Literal["float32", "float16"] = "float32", texts: bool = False, evidence: bool = False,
        missing: Missing = "error", resume: bool = True, batch_size: int = 256, shard_size: int = 10_000,
        verbose: bool = False,
    ):  # fmt: skip
        self.model, self.path, self.encoder = model, Path(path).expanduser().absolute(), encoder
        if hasattr(encoder, "encode_docs"):
            # a mixed index stays wrong, where an explanation can be asked for again
            model.with_check("off" if model.check == "off" else "error").checked_encoder(encoder)
        if len(model.aspects) >= MAX_VIEWS:
            raise ValueError(f"XetrievalIndexer expects at most {MAX_VIEWS - 1} aspects, found {len(model.aspects)}")
        if dtype not in MATRIX:
            raise ValueError(f"XetrievalIndexer expects dtype to be one of {list(MATRIX)}, found {dtype!r}")
        self.refit, self.dtype, self.resume, self.verbose = bool(refit), dtype, bool(resume), bool(verbose)
        self.batch_size = positive_int(batch_size, "batch_size", stage="XetrievalIndexer")
        self.shard_size = positive_int(shard_size, "shard_size", stage="XetrievalIndexer")
        self.texts, self.evidence = bool(texts or evidence), bool(evidence)
        self.text_field: str = getattr(encoder, "text_field", None) or "text"
        self.reader = self._reader() if evidence else None
        self._looked_at = False  # whether the vectors are the encoder's: the first batch tells
        self.missing = checked_missing(missing, stage="XetrievalIndexer")
        self.adds = self.replaces = False  # documents to a finished index, and those that it has of the same docnos
        self.encodes_again = encoder is not None  # one document, to see that a run goes on with the same encoder

    def __repr__(self) -> str:
        return f"XetrievalIndexer({self.model!r}, {str(self.path)!r})"

    def index_inputs(self) -> list[list[str]]:
        """The columns that documents need, for ``pt.inspect``."""
        if self.encoder is not None:
            return [["docno", self.text_field]]
        return [["docno", "doc_vec", self.text_field] if self.texts else ["docno", "doc_vec"]]

    def settings(self) -> dict[str, Any]:
        """What all shards of the index have in common."""
        return {
            "version": VERSION, "dim": self.model.dim, "dict_size": self.model.sae.dict_size, "aspects": list(self.model.aspects),
            "weights": list(self.model.weights.values()), "refit": self.refit, "dtype": self.dtype,
            "shard_size": self.shard_size, "model_sha256": fingerprint(self.model),
            **({TEXTS: True} if self.texts else {}), **({EVIDENCE: True} if self.evidence else {}),
        }  # fmt: skip

    def index(self, inp: Iterable[dict] | pd.DataFrame) -> XetrievalIndex:  # type: ignore[override]  # it has no options
        """Indexes dicts (or the rows of a frame) with ``docno`` and ``doc_vec``, and returns the finished index."""
        if not self.adds:
            self._finished_shards()  # refuses a finished index before the corpus is read
        documents = self._documents(inp)
        first = list(islice(documents, 1))
        if first:
            self._write(chain(first, documents))
        elif not self.adds:
            raise ValueError(f"XetrievalIndexer expects documents for {self.path}, found none")
        return XetrievalIndex(self.path, device=self.model.device)

    def _documents(self, inp: Iterable[dict] | pd.DataFrame) -> Iterator[dict]:
        """The documents, their docnos as text, and those alone that have the text that is needed."""
        check, reads = TextCheck(self.missing, stage="XetrievalIndexer"), self.texts or hasattr(self.encoder, "text_field")
        total = len(inp) if isinstance(inp, Sized) else None
        bar = pt.tqdm(documents_in(inp, stage="XetrievalIndexer"), total=total, desc="index", unit="d", disable=not self.verbose)
        for document in bar:
            docno, text = docno_of(document, where="XetrievalIndexer"), document.get(self.text_field)
            if reads and not check.keeps(text, f"document {docno!r}", field=self.text_field):
                continue
            yield {**document, "docno": docno}
        check.tell()

    def _write(self, documents: Iterator[dict]) -> None:
        base = self._finished_shards()
        with ShardWriter(self.path, self.settings(), self.model, finished=None if self.resume else base or 0) as writer:
            if self._finished_shards() != base:
                raise FileExistsError(f"another XetrievalIndexer has finished {self.path} in the meantime")
            with closing(SeenDocnos(stage="XetrievalIndexer")) as seen:
                old = self._live(base)
                self._skip(documents, seen, base, old)
                while batch := list(islice(documents, min(self.batch_size, writer.room))):
                    docnos = [check_docno(document.get("docno"), stage="XetrievalIndexer") for document in batch]
                    seen.add(docnos)
                    texts = [document[self.text_field] for document in batch] if self.texts else None
                    vectors, words = self._vectors(docnos, batch)
                    block = encode_documents(
                        self.model, docnos, vectors, refit=self.refit, dtype=self.dtype, batch_size=self.batch_size,
                        texts=texts, words=words,
                    )  # fmt: skip
                    writer.append(block)
                replaced = self._replaced(seen, old) if self.replaces else None
            facts = {"package_version": __version__, "encoder": self.model.meta["encoder"]}
            writer.finish({**artifact_kind(XetrievalIndex), **facts}, deleted=replaced)

    def _finished_shards(self) -> int | None:
        """Shards of the finished index that is to be added to; None where every finished shard belongs to this run."""
        if not (self.path / META).exists():
            return None
        meta = read_json(self.path / META)
        check_facts(meta, {"shards": ("a whole number", is_count)}, self.path / META)
        if not self.adds:
            raise FileExistsError(
                f"{self.path} is a finished index of {meta.get('documents')} documents; add to it with "
                "XetrievalIndex(path).indexer(), or choose another path"
            )
        return meta["shards"]

    def _live(self, base: int | None) -> Layout:
        """The finished index that is added to, without its deleted documents; an empty one if there is none."""
        if base is None:
            return Layout(self.path, 0)
        return Layout(self.path, base, read_deleted(self.path, read_json(self.path / META)))

    def _replaced(self, seen: SeenDocnos, old: Layout) -> np.ndarray:
        """The rows of the documents that came again, int64 ``[k]``."""
        found = [np.empty(0, np.int64)]
        for start in range(0, len(old), 10_000):
            docids = np.arange(start, min(start + 10_000, len(old)))
            found.append(old.deleted.rows_of(docids[seen.holds(old.docnos(docids))]))
        return np.concatenate(found)

    def _skip(self, documents: Iterator[dict], seen: SeenDocnos, base: int | None, old: Layout) -> None:
        """Takes the documents of finished shards of this run from the corpus; docnos that must not come again count as seen."""
        layout = Layout(self.path)
        own = int(layout.starts[base or 0])  # where this run began
        compared = 0
        for start, docnos in read_docnos(layout, 10_000):
            there = old.deleted.docids_of(np.arange(start, start + len(docnos))) >= 0
            mine = np.arange(start, start + len(docnos)) >= own
            seen.add([docnos[i] for i in np.flatnonzero(mine if self.replaces else mine | there)])
            for at, expected in enumerate(docnos[max(0, own - start) :], max(start, own)):
                document = next(documents, {})
                if document.get("docno") != expected:
                    raise ValueError(
                        f"XetrievalIndexer resumes {self.path} and expects document {at - own} of the corpus to be {expected!r}, "
                        f"found {found_value(document.get('docno'))}; index the same corpus, or start over with resume=False"
                    )
                at_hand = self.encoder is None and not is_missing(document.get("doc_vec"))
                if compared < 10 if at_hand else compared < 1 and self.encodes_again:
                    self._compare(document, layout.vectors(VECTORS)[at])
                    compared += 1

    def _compare(self, document: dict, known: np.ndarray) -> None:
        """ValueError if a finished document now has another vector: rows of two encoders would be in one index."""
        found, _ = self._vectors([document["docno"]], [document])
        if not same_direction(known, found[0]):
            raise ValueError(
                f"XetrievalIndexer resumes {self.path} and expects document {document['docno']!r} to have the vector stored there, "
                "found another one; index with the same encoder, or start over with resume=False"
            )

    def _reader(self) -> TokenEncoder:
        if self.encoder is None:
            raise ValueError(
                "XetrievalIndexer with evidence=True expects the encoder itself, model.indexer(path, encoder=encoder, "
                "evidence=True), found none: words come from the forward pass that makes the vectors"
            )
        reader = TokenEncoder(self.encoder, "document")
        if not reader.exact:
            raise ValueError(
                f"XetrievalIndexer with evidence=True expects an encoder that averages its token vectors, found {self.encoder!r}: "
                f"{reader.why_leave_out}; index with texts=True, and look for words with model.evidence()"
            )
        return reader

    def _vectors(self, docnos: list[str], batch: list[dict]) -> tuple[np.ndarray, list[WordVectors] | None]:
        """float32 ``[n, m]``: from the encoder, or as the documents bring them; and their words if evidence is to be kept."""
        words = None
        if self.reader is not None:
            words = self.reader.words([document[self.text_field] for document in batch])
            vectors = pd.Series([of_text.vector.astype(np.float32) for of_text in words], dtype=object)
            frame = pd.DataFrame({"docno": docnos, "doc_vec": vectors})
        elif self.encoder is not None:
            # pandas' strings cannot hold half of a character
            plain = [{name: repaired(v) if isinstance(v, str) else v for name, v in document.items()} for document in batch]
            frame = pd.DataFrame(self.encoder(pd.DataFrame(plain)))
            if frame["docno"].tolist() != docnos:
                raise ValueError(
                    f"XetrievalIndexer expects one row for each document, in order, from {self.encoder!r}, found {len(frame)} rows "
                    f"for {len(docnos)} documents; give an encoder that splits or drops texts its place before the indexer"
                )
        else:
            missing = [d for d, document in zip(docnos, batch) if is_missing(document.get("doc_vec"))]
            if missing:
                raise ValueError(
                    f"XetrievalIndexer expects doc_vec, found none in document {missing[0]!r}; give it the encoder (encoder=…), or encode first"
                )
            vectors = pd.Series([document["doc_vec"] for document in batch], dtype=object)
            frame = pd.DataFrame({"docno": docnos, "doc_vec": vectors})
        columns = VectorColumns(frame, dim=self.model.dim, stage=self, model=None if self._looked_at else self.model)
        z, rows = columns["doc_vec"]
        columns.check_space("doc_vec", z)
        self._looked_at = True
        return z[rows], words
