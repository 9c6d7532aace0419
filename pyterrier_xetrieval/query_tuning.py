"""The artifact that a tuner learns: what a query that shows one feature should look for beside it, or avoid."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import torch

from .core.calibration import CorpusStatistics
from .core.links import ALWAYS, Links
from .store.files import artifact_facts, artifact_kind, new_folder
from .store.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from .feature_names import FeatureNames

TABLE, CORPUS, META = "links.tsv", "corpus.safetensors", "pt_meta.json"
COLUMNS = ("source", "source_label", "target", "target_label", "weight", "queries", "helped", "hurt")
ALWAYS_LABEL = "every query"


class QueryTuning(pt.Artifact):
    """How the queries of one collection are changed: calibrated by its corpus, then by links between features.

    A folder of ``pt_meta.json``, ``links.tsv``, which may be edited by hand, and, with calibration, ``corpus.safetensors``.
    ``model.tuned(tuning)`` is the stage.

    Args:
        path: the artifact's folder.

    Attributes:
        links: one row for each link: the ids ``source`` (Int64; missing for a link of every query) and ``target`` (int64), with
            ``source_label`` and ``target_label``; ``weight``, above 0 to look for the target and below 0 to avoid it.
            Learned links also say of how many queries they were learned: ``queries`` show the source, and ``helped`` and
            ``hurt`` have a better or a worse nDCG@10 with the link than without it.
        dictionary: str, which dictionary's features these are.
        corpus: the statistics that the queries are calibrated with; None without calibration.
        strength: of the calibration, 0 to 0.5; None for the one that follows from the corpus's topicality.

    Raises:
        FileNotFoundError: no artifact at ``path``.
        ValueError: another kind of artifact, or a table that is none of links.

    Example::

        tuner = model.tuner(index)
        (model.encoder() >> tuner).fit(topics, qrels)
        tuner.tuning.save("beer.tuning").links              # read it, edit links.tsv
        model.encoder() >> model.tuned(QueryTuning("beer.tuning")) >> index.retriever()
    """

    ARTIFACT_TYPE, ARTIFACT_FORMAT, ARTIFACT_PACKAGE_HINT = "query_tuning", "xetrieval", "pyterrier_xetrieval"

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(Path(path).expanduser().absolute())
        folder = Path(str(self.path))
        try:
            meta = artifact_facts(folder, QueryTuning, {"dictionary", "dict_size", "strength"})
        except FileNotFoundError:
            raise FileNotFoundError(f"no QueryTuning at {folder}: {META} is missing") from None
        self.dictionary, self.dict_size, self.strength = str(meta["dictionary"]), int(meta["dict_size"]), meta["strength"]
        self.links = checked_links(pd.read_csv(folder / TABLE, sep="\t", dtype={"source": "Int64"}), self.dict_size)
        self.corpus = _read_corpus(folder / CORPUS) if (folder / CORPUS).exists() else None

    @classmethod
    def from_parts(
        cls, links: pd.DataFrame, names: FeatureNames, *, corpus: CorpusStatistics | None = None, strength: float | None = None
    ) -> QueryTuning:
        """A tuning in memory; :meth:`save` puts it on disk.

        Args:
            links: a frame with ``source``, ``target`` and ``weight``; ``queries``, ``helped`` and ``hurt`` are kept.
            names: of the dictionary's features: ``model.labels``.
            corpus, strength: as the attributes of :class:`QueryTuning`.

        Raises:
            ValueError: features outside of the dictionary; weights that are no finite numbers.

        Example::

            rows = pd.DataFrame({"source": [pd.NA], "target": [1752], "weight": [-0.4]})
            QueryTuning.from_parts(rows, model.labels)                              # less beer in every query
        """
        table = checked_links(links, names.dict_size)
        sources = [ALWAYS_LABEL if pd.isna(j) else names[int(j)] for j in table["source"]]
        named = table.assign(source_label=sources, target_label=[names[int(j)] for j in table["target"]])
        kept = named[[column for column in COLUMNS if column in named.columns]]
        return cls._of(kept, names.dictionary, names.dict_size, corpus, strength)

    @classmethod
    def _of(
        cls, links: pd.DataFrame, dictionary: str, dict_size: int, corpus: CorpusStatistics | None, strength: float | None
    ) -> QueryTuning:
        tuning = object.__new__(cls)
        pt.Artifact.__init__(tuning, pt.Artifact.NO_PATH)
        tuning.links, tuning.dictionary, tuning.dict_size = links, dictionary, dict_size
        tuning.corpus, tuning.strength = corpus, strength
        return tuning

    def save(self, path: str | os.PathLike[str]) -> QueryTuning:
        """Writes the folder, all or nothing, and returns the artifact there.

        Raises:
            FileExistsError: something is at ``path`` already.
        """
        path = Path(path).expanduser().absolute()
        if path.exists():
            raise FileExistsError(f"{path} already exists; choose another path or remove it first")
        own = {"version": 1, "dictionary": self.dictionary, "dict_size": self.dict_size, "strength": self.strength}
        facts = artifact_kind(QueryTuning) | own
        with new_folder(path) as folder:
            self.links.to_csv(folder / TABLE, sep="\t", index=False)
            if self.corpus is not None:
                moments = {"mean": self.corpus.mean, "covariance": self.corpus.covariance, "count": np.array([self.corpus.count])}
                contiguous = {name: torch.from_numpy(np.ascontiguousarray(numbers)) for name, numbers in moments.items()}
                write_tensors(folder / CORPUS, contiguous)
            (folder / META).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        return QueryTuning(path)

    def without(self, rows: Iterable[int]) -> QueryTuning:
        """The same tuning without these rows of :attr:`links`, named by their index; KeyError for a row that is not there."""
        return self._with(self.links.drop(index=list(rows)))

    def merged(self, other: QueryTuning) -> QueryTuning:
        """Both tunings' links; weights of links between the same features add up. The calibration is this one's.

        Raises:
            ValueError: links between features of another dictionary.
        """
        if other.dictionary != self.dictionary:
            raise ValueError("QueryTuning.merged expects links of the same dictionary, found those of another one")
        both = pd.concat([self.links, other.links])
        labels = both.drop_duplicates(["source", "target"]).drop(columns=["weight", "queries", "helped", "hurt"], errors="ignore")
        sums = both.groupby(["source", "target"], dropna=False, sort=False)["weight"].sum().reset_index()
        return self._with(labels.merge(sums, on=["source", "target"]))

    def as_links(self) -> Links:
        """The links as arrays."""
        source = self.links["source"].fillna(ALWAYS).to_numpy(np.int64)
        return Links(source, self.links["target"].to_numpy(np.int64), self.links["weight"].to_numpy(np.float32))

    def _with(self, links: pd.DataFrame) -> QueryTuning:
        return self._of(links.reset_index(drop=True), self.dictionary, self.dict_size, self.corpus, self.strength)

    def __len__(self) -> int:
        """How many links."""
        return len(self.links)

    def __bool__(self) -> bool:
        return True  # also without links

    def _identity(self) -> tuple:
        return self.dictionary, self.strength, self.corpus, tuple(map(tuple, self.links[["target", "weight"]].to_numpy())), tuple(
            self.links["source"].fillna(ALWAYS)
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, QueryTuning) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __str__(self) -> str:
        """The links in words, strongest first.

        Example::

            every query: less of *beer and brewing methods* (-0.41; helped 80, hurt 31)
        """
        rows = self.links.reindex(self.links["weight"].abs().sort_values(ascending=False).index)
        return "\n".join(map(_in_words, rows.to_dict("records"))) or "no links"

    def __repr__(self) -> str:
        return f"QueryTuning({len(self)} links{'' if self.corpus is None else ', calibrated'})"


def _in_words(row: dict[str, Any]) -> str:
    who = ALWAYS_LABEL if pd.isna(row["source"]) else f"queries about *{row['source_label']}*"
    told = f"{who}: {'more' if row['weight'] > 0 else 'less'} of *{row['target_label']}* ({row['weight']:+.2f}"
    known = not pd.isna(row.get("helped", np.nan))
    return told + (f"; helped {row['helped']:.0f}, hurt {row['hurt']:.0f})" if known else ")")


def checked_links(links: pd.DataFrame, dict_size: int) -> pd.DataFrame:
    """A table of links with the types that it should have.

    Raises:
        ValueError: a column missing; features outside of the dictionary; weights that are no finite numbers.
    """
    if missing := {"source", "target", "weight"} - set(links.columns):
        raise ValueError(f"QueryTuning expects links with columns source, target, weight; missing {sorted(missing)}")
    try:
        table = links.reset_index(drop=True).astype({"source": "Int64", "target": "int64", "weight": "float64"})
    except (TypeError, ValueError) as error:
        raise ValueError(f"QueryTuning expects feature ids and numbers as links, found other values ({error})") from None
    features = np.concatenate([table["source"].dropna().to_numpy(np.int64), table["target"].to_numpy(np.int64)])
    if len(features) and not (0 <= features.min() and features.max() < dict_size):
        raise ValueError(f"QueryTuning expects features 0 … {dict_size - 1}, found {features.min()} … {features.max()}")
    if not np.isfinite(table["weight"]).all():
        raise ValueError("QueryTuning expects finite weights, found NaN or infinity")
    return table


def _read_corpus(path: Path) -> CorpusStatistics:
    own = {name: tensor.numpy() for name, tensor in read_tensors(path).items()}
    try:
        return CorpusStatistics(int(own["count"][0]), own["mean"], own["covariance"])
    except (KeyError, IndexError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
