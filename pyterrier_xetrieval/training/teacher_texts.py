"""The teacher's texts about the documents of a corpus, and their vectors: what internalizers are trained on."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.checks import check_aspect_name
from ..datasets.corpus_file import Documents
from ..datasets.encoded_corpus import encode_texts
from ..store.jsonl import json_lines
from ..store.texts import StoredTexts, TextWriter
from .vector_rows import evenly

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder, FlexIndex


@dataclass(frozen=True)
class TeacherTexts:
    """The documents of a corpus that have a text of every aspect, and these texts.

    Attributes:
        rows: int64 ``[n]``, the documents' rows in the corpus, ascending.
        docnos: their names.
        counts: aspect to the number of texts in the file.
    """

    rows: np.ndarray
    docnos: list[str]
    counts: dict[str, int]
    _stored: StoredTexts
    _lines: dict[str, np.ndarray]

    def some(self, n: int) -> list[str]:
        """At most ``n`` of the texts, evenly from all aspects."""
        lines = np.concatenate(list(self._lines.values()))
        return self._stored(lines[evenly(len(lines), n)].tolist())

    @staticmethod
    def path(work: Path, aspect: str) -> Path:
        """Where :meth:`encode` keeps the vectors of an aspect."""
        return work / f"taught-{aspect}.flex"

    def encode(self, encoder: BiEncoder, work: Path, *, stage: str, verbose: bool = False) -> dict[str, FlexIndex]:
        """Aspect to the texts' vectors, in the order of ``rows``; the same call continues it."""

        def encoded(aspect: str, lines: np.ndarray) -> FlexIndex:
            def texts(rows: Sequence[int]) -> list[str]:
                return self._stored(lines[list(rows)].tolist())

            return encode_texts(texts, self.docnos, encoder, self.path(work, aspect), stage=stage, verbose=verbose)

        return {aspect: encoded(aspect, lines) for aspect, lines in self._lines.items()}


def read_teacher_texts(
    path: str | os.PathLike[str], documents: Documents, *, aspects: Sequence[str] | None, stage: str
) -> TeacherTexts:
    """Reads a teacher's file; the texts are copied to a temporary file and not held in memory.

    Args:
        path: JSON lines {_id, aspect, text}, as :meth:`.teacher.Teacher.write` writes them.
        documents: what the texts are about, by docno.
        aspects: which to use; None for all in the file.

    Raises:
        ValueError: a line without these fields, a text twice, an aspect that is not in the file or cannot end a column
            name, fewer than two documents of the corpus with a text of each aspect.
    """
    places: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryFile() as file:  # gone from the disk when the texts are
        writer = TextWriter(file)
        for number, row in json_lines(path):
            docno, aspect, text = row.get("_id"), row.get("aspect"), row.get("text")
            if docno is None or not isinstance(aspect, str) or not isinstance(text, str):
                raise ValueError(f"{stage}: line {number} of {path} expects _id, aspect and text, found {str(row)[:80]}")
            check_aspect_name(aspect, stage=f"{stage}: line {number} of {path}")
            if str(docno) in places.setdefault(aspect, {}):
                raise ValueError(f"{stage}: line {number} of {path} is a second text of aspect {aspect!r} about {docno!r}")
            places[aspect][str(docno)] = len(writer.ends) - 1
            writer.add(text)
        stored = StoredTexts(file, writer.offsets)
    if missing := [aspect for aspect in aspects or () if aspect not in places]:
        raise ValueError(f"{stage} found no texts of aspects {missing} in {path}, only of {list(places)}")
    places = {aspect: places[aspect] for aspect in aspects or places}
    counts = {aspect: len(place) for aspect, place in places.items()}
    found = [(r, d["docno"]) for r, d in enumerate(documents) if places and all(d["docno"] in p for p in places.values())]
    if len(found) < 2:
        told = f"{len(found)} of {len(documents)}; {path} has texts of {counts}"
        raise ValueError(f"{stage} expects two documents or more with a text of each aspect, found {told}")
    if left := len(set().union(*places.values())) - len(found):
        warnings.warn(f"{left} documents of {path} are not in the corpus or lack an aspect and are not used", stacklevel=3)
    docnos = [docno for _, docno in found]
    lines = {aspect: np.array([place[docno] for docno in docnos]) for aspect, place in places.items()}
    return TeacherTexts(np.array([row for row, _ in found]), docnos, counts, stored, lines)
