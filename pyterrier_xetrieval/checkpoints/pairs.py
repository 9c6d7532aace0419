"""Explaining a file of query-document pairs, in the released program's JSONL formats."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyterrier as pt

from ..model import Xetrieval
from ..store.files import replacing
from ..store.jsonl import check_can_be_read_again, records

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

RELEASED_KEYS = ("query_id", "doc_id", "shared_features", "per_view_shared_features", "feature_explanations")


def read_pairs(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The pairs ``{query_id?, doc_id?, query, doc}`` of a JSONL file (``.gz`` too); blank lines are skipped.

    Raises:
        ValueError: a line that is no JSON object with texts ``query`` and ``doc``; it names the line.
    """
    for where, pair in records(Path(path)):
        if not all(isinstance(pair.get(key), str) for key in ("query", "doc")):
            raise ValueError(f"{where} expects texts 'query' and 'doc', found {str(pair)[:80]}")
        yield pair


def explain_file(
    model: Xetrieval,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    encoder: BiEncoder | None = None,
    attribution: bool = False,
    threshold: float = 0.0,
    chunk: int = 1000,
) -> int:
    """Explains every pair of a JSONL file into another one, in order; returns how many.

    Args:
        model: the model.
        source: pairs as :func:`read_pairs` reads them; read twice, therefore no pipe.
        target: one line per pair with the released program's keys; replaced in one step when all pairs are done.
        encoder: a pyterrier_dr bi-encoder, or None for the model's own.
        attribution: also write ``score``, ``parts`` and ``features`` of :meth:`Explanation.to_dict`.
        threshold: τ of Eq. 4.
        chunk: pairs held in memory at once.

    Raises:
        ValueError: a bad line in ``source``, no pairs at all, a pipe, or ``target`` is ``source``; it is then left as it was.
        RuntimeError: ``source`` changed while it was read; ``target`` is left as it was too.

    Example::

        explain_file(Xetrieval.default(), "pairs.jsonl", "explained.jsonl", attribution=True)
    """
    check_can_be_read_again(Path(source), stage="explain_file")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise ValueError(f"explain_file expects another file than {source} to write to")
    encoder = model.encoder() if encoder is None else encoder
    explain = encoder.query_encoder() >> model.internalizer() >> model.explainer(threshold=threshold)
    total = sum(1 for _ in read_pairs(source))  # a bad line is found before any work is done
    if not total:
        raise ValueError(f"{source} holds no pairs")
    done = 0
    with replacing(target) as out, pt.tqdm(total=total, desc="explain", unit="pair") as bar:
        pairs = read_pairs(source)
        while batch := list(islice(pairs, chunk)):
            for pair, explanation in zip(batch, explain(_with_documents(batch, encoder))["explanation"]):
                record = explanation.to_dict() | {key: pair.get(key) for key in ("query_id", "doc_id")}
                keys = record if attribution else RELEASED_KEYS
                out.write(json.dumps({key: record[key] for key in keys}, ensure_ascii=False) + "\n")
            bar.update(len(batch))
            done += len(batch)
        if done != total:
            raise RuntimeError(
                f"explain_file counted {total} pairs in {source} and then found {done}; start again when it is whole"
            )
    return total


def _with_documents(batch: list[dict[str, Any]], encoder: BiEncoder) -> pd.DataFrame:
    """One row per pair, with its ``doc_vec``; equal texts are encoded once, as equal queries are anyway."""
    field, ids = encoder.text_field, [str(i) for i in range(len(batch))]
    texts = [pair["doc"] for pair in batch]
    docs = encoder.doc_encoder()(pd.DataFrame({field: list(dict.fromkeys(texts))}))
    vectors = dict(zip(docs[field], docs["doc_vec"]))
    queries = [pair["query"] for pair in batch]
    return pd.DataFrame({"qid": ids, "query": queries, "docno": ids, "doc_vec": [vectors[text] for text in texts]})
