"""Explaining a file of query-document pairs, in the released program's JSONL formats."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
import pyterrier as pt

from ..model import Xetrieval
from ..store.files import replacing
from ..store.jsonl import check_can_be_read_again, records

RELEASED_KEYS = ("query_id", "doc_id", "shared_features", "per_view_shared_features", "feature_explanations")


def read_pairs(path) -> Iterator[dict]:
    """The pairs ``{query_id?, doc_id?, query, doc}`` of a JSONL file (``.gz`` too); blank lines are skipped.

    Raises:
        ValueError: a line that is no JSON object with texts ``query`` and ``doc``; it names the line.
    """
    for where, pair in records(Path(path)):
        if not all(isinstance(pair.get(key), str) for key in ("query", "doc")):
            raise ValueError(f"{where} expects texts 'query' and 'doc', found {str(pair)[:80]}")
        yield pair


def explain_file(
    model: Xetrieval, source, target, *, encoder=None, attribution: bool = False, threshold: float = 0.0, chunk: int = 1000
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
    """
    check_can_be_read_again(Path(source), stage="explain_file")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise ValueError(f"explain_file expects another file than {source} to write to")
    encoder = model.encoder() if encoder is None else encoder
    explain = model.internalizer() >> model.explainer(threshold=threshold)
    total = sum(1 for _ in read_pairs(source))  # a bad line is found before any work is done
    if not total:
        raise ValueError(f"{source} holds no pairs")
    with replacing(target) as out, pt.tqdm(total=total, desc="explain", unit="pair") as bar:
        pairs, done = read_pairs(source), 0
        while batch := list(islice(pairs, chunk)):
            for pair, explanation in zip(batch, explain(_encoded(encoder, batch))["explanation"]):
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


def _encoded(encoder, batch: list[dict]) -> pd.DataFrame:
    """One row per pair; every distinct text is encoded once."""
    queries = pd.DataFrame({"query": list(dict.fromkeys(pair["query"] for pair in batch))})
    docs = pd.DataFrame({encoder.text_field: list(dict.fromkeys(pair["doc"] for pair in batch))})
    query_vec = dict(zip(queries["query"], encoder.query_encoder()(queries)["query_vec"]))
    doc_vec = dict(zip(docs[encoder.text_field], encoder.doc_encoder()(docs)["doc_vec"]))
    columns = {
        "qid": [str(i) for i in range(len(batch))],
        "docno": [str(i) for i in range(len(batch))],
        "query_vec": [query_vec[pair["query"]] for pair in batch],
        "doc_vec": [doc_vec[pair["doc"]] for pair in batch],
    }
    return pd.DataFrame(columns)
