"""Explaining a file of query-document pairs, in the released program's JSONL formats."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
import pyterrier as pt

from .model import Xetrieval

RELEASED_KEYS = ("query_id", "doc_id", "shared_features", "per_view_shared_features", "feature_explanations")


def read_pairs(path) -> Iterator[dict]:
    """The pairs ``{query_id?, doc_id?, query, doc}`` of a JSONL file; blank lines are skipped.

    Raises:
        ValueError: a line that is no JSON object with texts ``query`` and ``doc``; it names the line.
    """
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                pair = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno})") from None
            texts = [pair.get(key) for key in ("query", "doc")] if isinstance(pair, dict) else [None]
            if not all(isinstance(text, str) for text in texts):
                raise ValueError(f"{path}, line {number}: expects an object with texts 'query' and 'doc'")
            yield pair


def explain_pairs(
    model: Xetrieval, source, target, *, attribution: bool = False, threshold: float = 0.0, chunk: int = 1000
) -> int:
    """Explains every pair of a JSONL file into another one, in order; returns how many.

    Args:
        model: the model, whose own encoder embeds the texts.
        source: pairs as :func:`read_pairs` reads them.
        target: one line per pair with the released program's keys; replaced in one step when all pairs are done.
        attribution: also write ``score``, ``parts`` and ``features`` of :meth:`Explanation.to_dict`.
        threshold: τ of Eq. 4.
        chunk: pairs held in memory at once.

    Raises:
        ValueError: a bad line in ``source``, or no pairs at all; ``target`` is then left as it was.
    """
    encoder, explain = model.encoder(), model.internalizer() >> model.explainer(threshold=threshold)
    total = sum(1 for _ in read_pairs(source))  # a bad line is found before any work is done
    if not total:
        raise ValueError(f"{source} holds no pairs")
    handle, unfinished = tempfile.mkstemp(dir=Path(target).absolute().parent, suffix=".jsonl")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out, pt.tqdm(total=total, desc="explain", unit="pair") as bar:
            pairs = read_pairs(source)
            while batch := list(islice(pairs, chunk)):
                for pair, explanation in zip(batch, explain(_encoded(encoder, batch))["explanation"]):
                    record = explanation.to_dict() | {key: pair.get(key) for key in ("query_id", "doc_id")}
                    keys = record if attribution else RELEASED_KEYS
                    out.write(json.dumps({key: record[key] for key in keys}, ensure_ascii=False) + "\n")
                bar.update(len(batch))
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, target)
    except BaseException:
        os.unlink(unfinished)
        raise
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
