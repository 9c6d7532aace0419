"""A corpus as files: what users bring, and a copy of it whose documents are read by row."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..documents import Missing, TextCheck, docno_of, documents_in
from ..store.files import new_folder
from ..store.jsonl import check_can_be_read_again
from ..store.surrogates import repaired
from ..store.texts import StoredTexts
from .beir import beir_folder, json_documents


@dataclass(frozen=True)
class CorpusFile:
    """The documents ``{docno, text}`` of a file or folder; title and text become one text, separated by a space.

    Args:
        path: JSON lines {docno or _id, text, title?}, also gzipped (``.gz``), or a BEIR-style folder.
        limit: only the first so many.
        missing: what becomes of a document whose text is missing (None, NaN) or no string: ``"error"``, or ``"drop"``, which
            leaves it out and warns how many were left out.

    Raises:
        FileNotFoundError: (when read) nothing at ``path``.
        ValueError: (when read) a line that is no such object, named; a pipe, since a corpus is read more than once.

    Example::

        len(CorpusFile("corpus.jsonl.gz")), next(iter(CorpusFile("corpus.jsonl.gz")))
    """

    path: str | os.PathLike[str]
    limit: int | None = None
    missing: Missing = "error"

    def __iter__(self) -> Iterator[dict[str, str]]:
        path = Path(self.path)
        if path.is_dir():
            return islice(beir_folder(path).get_corpus_iter(missing=self.missing), self.limit)
        check_can_be_read_again(path, stage="CorpusFile")
        return islice(json_documents(path, TextCheck(self.missing, stage="CorpusFile")), self.limit)

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in self)


class Documents:
    """Documents ``{docno, text}`` by row, from a folder that :meth:`store` filled; none of them is held in memory.

    Attributes:
        digest: sha256 over all documents, hexadecimal.

    Raises:
        ValueError: a file of the folder is missing or damaged.
    """

    def __init__(self, folder: Path):
        try:
            self.digest = (folder / "digest").read_text()
            self._ends = np.load(folder / "ends.npy", mmap_mode="r")
            with open(folder / "documents.jsonl", "rb") as file:
                self._stored = StoredTexts(file, self._ends)
        except (ValueError, EOFError, IndexError, FileNotFoundError) as error:
            raise ValueError(f"{folder} is damaged, its digest, ends.npy or documents.jsonl ({error}); remove it") from None

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> dict[str, str]:
        document: Any = self._stored([range(len(self))[row]])[0]
        return document

    def __iter__(self) -> Iterator[dict[str, str]]:
        return map(self.__getitem__, range(len(self)))

    def texts(self, rows: Iterable[int]) -> list[str]:
        """The texts of these rows, in their order."""
        return [self[row]["text"] for row in rows]

    @classmethod
    def store(
        cls, corpus: Iterable[dict[str, Any]] | pd.DataFrame, folder: Path, *, stage: str, missing: Missing = "error"
    ) -> Documents:
        """Copies a corpus into a folder, all or nothing, or makes sure that the copy there is of this one.

        Args:
            missing: as in :class:`CorpusFile`.

        Raises:
            ValueError: a document without docno or text, a docno twice, fewer than two documents, another corpus.
        """
        digest, names, ends = hashlib.sha256(), array("Q"), array("q", [0])
        known, check = folder.is_dir(), TextCheck(missing, stage=stage)
        with nullcontext() if known else new_folder(folder) as new:
            with open(new / "documents.jsonl" if new else os.devnull, "wb") as file:
                for document in documents_in(corpus, stage=stage):
                    docno, text = docno_of(document, where=stage), document.get("text")
                    if docno is None or "text" not in document:
                        raise ValueError(f"{stage} expects documents with docno and text, found {str(document)[:80]}")
                    if not check.keeps(text, f"document {docno!r}"):
                        continue
                    line = json.dumps({"docno": docno, "text": repaired(str(text))}).encode() + b"\n"
                    digest.update(line)
                    ends.append(ends[-1] + file.write(line))
                    name = hashlib.sha256(docno.encode("utf-8", "replace")).digest()
                    names.append(int.from_bytes(name[:8], "little"))
            check.tell()
            distinct = len(np.unique(names))
            if len(names) < 2 or distinct < len(names):
                found = f"{len(names)} documents of {distinct} docnos"
                raise ValueError(f"{stage} expects two documents or more, each with a docno of its own, found {found}")
            if new:
                np.save(new / "ends.npy", np.array(ends))
                (new / "digest").write_text(digest.hexdigest())
        documents = cls(folder)
        if documents.digest != digest.hexdigest():
            told = f"{len(documents):,} documents, digest {documents.digest[:12]}"
            raise ValueError(
                f"{stage}: {folder.parent} was begun with another corpus ({told}), this one has {len(names):,} documents and "
                f"digest {digest.hexdigest()[:12]}; name another work folder or remove that one"
            )
        return documents


class Texts(Sequence[str]):
    """The texts of documents by row, each read from the disk when it is asked for."""

    def __init__(self, documents: Documents):
        self._documents = documents

    def __len__(self) -> int:
        return len(self._documents)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # one at a time: nobody slices a corpus
        return self._documents[row]["text"]
