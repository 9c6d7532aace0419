"""The collections of the paper (Cai et al. 2026, Table 4), as ir_datasets provides them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyterrier as pt

from .base import Collection, excluded_frame
from .sampling import pool

if TYPE_CHECKING:
    import ir_datasets

BRIGHT_DOMAINS = (
    "biology", "earth-science", "economics", "psychology", "robotics", "stackoverflow", "sustainable-living",
    "leetcode", "pony", "aops", "theoremqa-questions", "theoremqa-theorems",
)  # fmt: skip


def _text(query: Any, dataset: ir_datasets.Dataset) -> str:
    return query.text


def _title(query: Any, dataset: ir_datasets.Dataset) -> str:
    return query.title


def _article_title(query: Any, dataset: ir_datasets.Dataset) -> str:
    return dataset.docs_store().get(query.doc_id).title


# name: where the benchmark is in ir_datasets, and what IrCollection has to know of it
_SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "nq": ("beir/nq", {}),
    "arguana": ("beir/arguana", {"made_from": lambda query: query.query_id}),
    "trec-news": ("wapo/v2/trec-news-2019", {
        "query_text": _article_title, "made_from": lambda query: query.doc_id,
        "licence": "the TREC Washington Post collection, from NIST under an agreement (https://trec.nist.gov/data/wapost/)",
    }),
    "robust04": ("disks45/nocr/trec-robust-2004", {
        "query_text": _title,
        "licence": "TREC disks 4 and 5, from NIST under an agreement (https://trec.nist.gov/data/cd45/)",
    }),
    **{f"bright/{domain}": (f"bright/{domain}", {}) for domain in BRIGHT_DOMAINS},
}  # fmt: skip

_ELSEWHERE = {
    "mutual": "https://github.com/Nealcly/MuTual",
    "signal-1m": "https://research.signal-ai.com/datasets/signal1m-tweetir.html",
}

NAMES = ("bright", *_SOURCES)


class IrCollection(Collection):
    """An ir_datasets dataset with documents, queries and qrels; see :func:`benchmark`.

    Args:
        dataset: an ``ir_datasets.Dataset``. Judgements below 0 mark excluded documents, as BRIGHT writes them.
        name: of the collection.
        query_text: takes a query and the dataset and returns the text to search with; the field ``text`` by default.
        made_from: takes a query and returns the id of the document it was made from, which is excluded for it.
        licence: what the documents are and who licenses them, where they are not to be downloaded freely.
    """

    def __init__(
        self,
        dataset: ir_datasets.Dataset,
        *,
        name: str,
        query_text: Callable[[Any, ir_datasets.Dataset], str] = _text,
        made_from: Callable[[Any], str] | None = None,
        licence: str = "",
    ):
        self.dataset, self.name = dataset, name
        self._query_text, self._made_from, self._licence = query_text, made_from, licence

    def get_corpus_iter(self, *, verbose: bool = False) -> Iterator[dict[str, str]]:
        """Yields ``{'docno': ..., 'text': ...}`` (both str); the text is ``default_text()`` of ir_datasets."""
        with self._reading("documents"):
            for document in pt.tqdm(self.dataset.docs_iter(), desc=f"{self.name} documents", disable=not verbose):
                yield {"docno": document.doc_id, "text": document.default_text().strip()}

    def get_topics(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the queries: columns ``qid`` and ``query`` (both strings)."""
        self._no_variant(variant)
        with self._reading("queries"):
            rows = [(query.query_id, self._query_text(query, self.dataset)) for query in self.dataset.queries_iter()]
        return pd.DataFrame(rows, columns=["qid", "query"], dtype=str)

    def get_qrels(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the judgements: columns ``qid``, ``docno`` (strings) and ``label`` (int); above 0 is relevant."""
        self._no_variant(variant)
        rows = pd.DataFrame([r for r in self._judgements() if r[2] >= 0], columns=["qid", "docno", "label"])
        return rows.astype({"qid": str, "docno": str, "label": int})

    def get_excluded(self) -> pd.DataFrame:
        """Documents not to be retrieved for a query (``qid``, ``docno``): judged below 0, or its source."""
        pairs = [(qid, docno) for qid, docno, label in self._judgements() if label < 0]
        if self._made_from is not None:
            with self._reading("queries"):
                pairs += [(query.query_id, self._made_from(query)) for query in self.dataset.queries_iter()]
        return excluded_frame(pairs)

    def _judgements(self) -> list[tuple[str, str, int]]:
        with self._reading("judgements"):
            return [(row.query_id, row.doc_id, int(row.relevance)) for row in self.dataset.qrels_iter()]

    @contextmanager
    def _reading(self, part: str) -> Iterator[None]:
        """Turns the errors of ir_datasets about files that it does not have into one sentence."""
        try:
            yield
        except ImportError as error:
            raise ImportError(f"the {part} of {self.name} need another package to be read: {error}") from error
        except FileNotFoundError as error:  # files that a person has to place
            raise FileNotFoundError(
                f"the {part} of {self.name} need {self._licence or 'a file that ir_datasets does not download'}: "
                f"place it at {error}, as https://ir-datasets.com describes"
            ) from error
        except (OSError, RuntimeError) as error:  # downloads; all errors of requests are OSErrors
            raise FileNotFoundError(
                f"the {part} of {self.name} are not on this machine and ir_datasets could not download them "
                f"({type(error).__name__}): connect to the network, or place the files as https://ir-datasets.com describes"
            ) from error

    def __repr__(self) -> str:
        return f"benchmark({self.name!r})"


def benchmark(name: str) -> Collection:
    """A benchmark of the paper, whole; :func:`~pyterrier_xetrieval.datasets.sample` draws the paper's samples.

    =================  =================================  ==================  ==============================
    name               ir_datasets                        query               excluded for a query
    =================  =================================  ==================  ==============================
    ``bright/DOMAIN``  ``bright/DOMAIN``                  ``text``            BRIGHT's excluded documents
    ``bright``         the 12 domains, pooled             ``text``            the same
    ``nq``             ``beir/nq``                        ``text``
    ``arguana``        ``beir/arguana``                   ``text``            the query's own argument
    ``trec-news``      ``wapo/v2/trec-news-2019``         title of the        the query's article
                                                          query's article
    ``robust04``       ``disks45/nocr/trec-robust-2004``  ``title``
    =================  =================================  ==================  ==============================

    Files are read when a part is asked for. MuTual and Signal-1M are not in ir_datasets: bring them as folders and
    open them with :func:`~pyterrier_xetrieval.datasets.beir_folder`. The paper's NQ has 8,383 queries of an unknown
    split; ``beir/nq`` has the 3,452 of BEIR.

    Raises:
        ValueError: another name.
        FileNotFoundError: (when a part is asked for) files that could not be downloaded, or that need a licence.

    Example::

        dataset = benchmark("bright/biology")
        topics, qrels = dataset.get_topicsqrels()
    """
    if name == "bright":
        return pool({domain: benchmark(f"bright/{domain}") for domain in BRIGHT_DOMAINS}, name="bright")
    if name in _ELSEWHERE:
        raise ValueError(
            f"benchmark {name!r} is not in ir_datasets: download it ({_ELSEWHERE[name]}), write it as a BEIR-style folder "
            "and open that with beir_folder(path)"
        )
    if name not in _SOURCES:
        raise ValueError(f"benchmark expects one of {', '.join([*NAMES, *_ELSEWHERE])}, found {name!r}")
    import ir_datasets  # late: the other collections do without it

    id, options = _SOURCES[name]
    return IrCollection(ir_datasets.load(id), name=name, **options)
