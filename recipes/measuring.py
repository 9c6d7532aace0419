"""What goes into a result file of :mod:`.results`, and the collections it is measured on."""

from __future__ import annotations

import gzip
import hashlib
import inspect
import json
import math
import platform
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pyterrier_xetrieval import __version__, pydocs
from pyterrier_xetrieval.evaluation import QUESTIONS, EmbeddedCollection, embed, read_embedded
from pyterrier_xetrieval.evaluation.bootstrap import estimate
from pyterrier_xetrieval.evaluation.questions import ask
from pyterrier_xetrieval.store.files import replacing

PYDOCS = "pydocs"
MAX_QUERIES = 200  # of the questions that look at pairs one by one
PAIRWISE = ("erasure", "curves", "shares", "stability", "counterfactual")
LATENCY_SIZES = (10_000, 20_000, 30_000, 40_000, 50_000, 60_000)
BINS = 50  # of the histogram of label scores


class Sources:
    """Collections by name: folders with vectors, and ``pydocs``; the one opened last is kept."""

    def __init__(self, data: Path | None, vectors: Path | None, cache: Path, own_id: Sequence[str], model):
        self.data, self.vectors, self.cache, self.own_id, self.model = data, vectors, cache, set(own_id), model
        self._open: tuple[str, EmbeddedCollection] | None = None

    def names(self) -> list[str]:
        """Every folder with documents, queries, judgements and vectors, by name, and ``pydocs``."""
        folders = sorted(self.data.iterdir()) if self.data else []
        complete = [f.name for f in folders if (f / "qrels.tsv").is_file() and (self.vectors / f"{f.name}.q.f16.npy").is_file()]
        return [*complete, PYDOCS]

    def open(self, name: str) -> EmbeddedCollection:
        if self._open is None or self._open[0] != name:
            if name == PYDOCS:
                collection = embed(pydocs(), self.encoder, cache=self.cache, verbose=True)
            elif self.data is None:
                raise ValueError(f"measure expects --data and --vectors for the collection {name!r}, found neither")
            else:
                collection = read_embedded(self.data, name, vectors=self.vectors, exclude_own_id=name in self.own_id)
            self._open = name, collection
        return self._open[1]

    def reasoning(self, name: str) -> Path | None:
        """The file of texts that a language model wrote about every document, if the collection has one."""
        path = self.data / name / "reasoning.jsonl.gz" if self.data and name != PYDOCS else None
        return path if path and path.is_file() else None

    @cached_property
    def encoder(self):
        return self.model.encoder()


def explicit_views(path: Path, docnos, aspects: Sequence[str], encoder) -> dict[str, np.ndarray]:
    """Aspect to float32 ``[n, m]``: vectors of the texts in ``path``, of the aspects that it has a text of for every document."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    found = {aspect: {str(row["_id"]): row["text"] for row in rows if row["aspect"] == aspect} for aspect in aspects}
    whole = {aspect: texts for aspect, texts in found.items() if set(docnos.tolist()) <= set(texts)}
    return {a: np.asarray(encoder.encode_docs([texts[d] for d in docnos.tolist()]), np.float32) for a, texts in whole.items()}


def measure_one(question: str, model, collection: EmbeddedCollection, options: Mapping, given: Mapping) -> pd.DataFrame:
    """The table of a question for the page: of at most ``options["max_queries"]`` queries, scores of labels as a histogram."""
    limit, n = options.get("max_queries", math.inf), len(collection.qids)
    if n > limit:
        collection = collection.select(np.sort(np.random.default_rng(given["seed"]).permutation(n)[:limit]))
    table = ask(question, model, collection, {**given, **options})
    return histograms(table, seed=given["seed"]) if question == "labels" else table


def histograms(scores: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """:func:`~pyterrier_xetrieval.evaluation.label_scores` without single features: ``value``, ``low``, ``high``, ``n`` (features) and ``counts``,
    the histogram over [0, 1]."""
    rows = []
    for condition, group in scores.groupby(["sae", "labels", "measure"], sort=False):
        counts, _ = np.histogram(group["value"], bins=BINS, range=(0, 1))
        numbers = {**estimate(group["value"], seed=seed), "counts": counts.tolist()}
        rows.append({**dict(zip(("sae", "labels", "measure"), condition)), **numbers})
    return pd.DataFrame(rows)


def digest(collection: EmbeddedCollection) -> str:
    """Of vectors, judgements and exclusions; texts have their vectors."""
    found = hashlib.sha256()
    for array in (collection.docs, collection.queries, *collection.excluded):
        found.update(np.ascontiguousarray(array).tobytes())
    found.update(json.dumps([sorted(grades.items()) for grades in collection.judged]).encode())
    return found.hexdigest()[:16]


def machine() -> dict:
    """What numbers, and above all times, can depend on beside the options."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    packages = {name: version(name) for name in ("torch", "numpy", "pyterrier")}
    packages = {"python": platform.python_version(), "pyterrier_xetrieval": __version__, **packages}
    return {"versions": packages, "cpu": cpu, "threads": torch.get_num_threads()}


def known(path: Path, key: Mapping) -> bool:
    """Whether a file holds the answer to the same question under the same conditions."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["key"] == json.loads(json.dumps(key))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def write_result(path: Path, key: Mapping, facts: Mapping, table: pd.DataFrame) -> None:
    """One file: what was asked (``key``), where and when (``facts``), the ``rows``; six digits, all or nothing."""
    rows = [{c: v for c, v in ((c, _plain(v)) for c, v in row.items()) if v is not None} for row in table.to_dict("records")]
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    head = json.dumps({"key": key, "facts": facts}, indent=1, ensure_ascii=False).removesuffix("\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')


def _plain(value):
    """For JSON: None for what is missing, six digits of a float."""
    if isinstance(value, list | str):
        return value
    if pd.isna(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.6g}") if isinstance(value, float) else value


def weights_of(model) -> dict:
    """Names and sha256 sums of a model's weights, from its metadata."""
    return {"encoder": model.meta["encoder"]["name"], "view_weights": model.meta["weights"], **model.meta["sha256"]}


def question_options(question: str, weights: Sequence[float]) -> dict:
    """What is set for the page."""
    of_views = {"weights": list(weights)}
    options = {
        "retrieval": of_views, "latency": {**of_views, "sizes": list(LATENCY_SIZES)}, "stability": {"other_rank": 2}
    }.get(question, {})  # fmt: skip
    return {**options, "max_queries": MAX_QUERIES} if question in PAIRWISE else options


def compares_dictionaries(question: str) -> bool:
    """Whether a dictionary trained on raw vectors would be part of the answer."""
    return bool({"raw_sae", "saes"} & set(inspect.signature(QUESTIONS[question].function).parameters))
