"""Does calibrating and linking the query make retrieval better, beside what else could be done?

``python -m recipes.tuning measure --data DIR --vectors FOLDER --out FOLDER --cache FOLDER [--only NAME …]`` writes a JSON file for each
collection: nDCG@10 of every query by every method, those that learn by 5-fold cross-validation over queries, and once more over
groups of queries that share relevant documents, where there are any. ``… curve`` learns from few and many queries, ``… transfer``
from another collection, and ``… report --out FOLDER`` writes ``docs/tuning.md``.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from scipy import stats

from pyterrier_xetrieval import FeatureLinks, Xetrieval, pydocs
from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection, retrieval_ndcg
from pyterrier_xetrieval.evaluation.embedding import embed, read_embedded
from pyterrier_xetrieval.store.files import replacing, write_json
from recipes.command import Command
from recipes.tuning_folds import folds, shared_groups
from recipes.tuning_methods import METHODS, UNSUPERVISED, Trial, fitted, learned
from recipes.tuning_report import page

FOLDS, LEAST_QUERIES, CEILING = 5, 300, 0.9
SIZES = (10, 30, 100, 300, 1000)


def embedded(data: Path, vectors: Path, name: str) -> EmbeddedCollection:
    if name == "pydocs":  # the bundled one, encoded here
        return embed(pydocs(), Xetrieval.default().encoder(), cache=vectors / name, name=name)
    return read_embedded(data, name, vectors=vectors, exclude_own_id="arguana" in name)


def measured(trial: Trial, name: str) -> np.ndarray:
    """nDCG@10 of every query, each by what was learned from the other folds."""
    n = len(trial.collection.qids)
    if name in UNSUPERVISED:
        return _ndcg(trial, METHODS[name](trial, np.arange(0), np.arange(n)), np.arange(n))
    fold, out = folds(trial.groups, FOLDS, trial.seed), np.zeros(n)
    for f in range(FOLDS):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        out[test] = _ndcg(trial, METHODS[name](trial, train, test), test)
    return out


def _ndcg(trial: Trial, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    own = trial.collection.select(rows)
    return retrieval_ndcg(own, np.asarray(own.docs), queries=np.ascontiguousarray(queries, np.float32))


@click.group()
def main() -> None:
    """Calibration and links, beside what else could be done."""


_SHARED = (
    click.option("--data", type=click.Path(path_type=Path), required=True),
    click.option("--vectors", type=click.Path(path_type=Path), required=True),
    click.option("--out", type=click.Path(path_type=Path), required=True),
    click.option("--cache", type=click.Path(path_type=Path), required=True),
    click.option("--model", "path", default=None),
)


def _options(command):  # type: ignore[no-untyped-def]
    for option in reversed(_SHARED):
        command = option(command)
    return command


@main.command(cls=Command, interrupted="What was measured is kept; run the command again to go on.")
@_options
@click.option("--only", multiple=True, required=True, help="Collections.")
@click.option("--method", multiple=True, help="Methods; all unless given.")
def measure(data: Path, vectors: Path, out: Path, cache: Path, path: str | None, only: tuple, method: tuple) -> None:
    """Writes nDCG@10 of every query by every method; what is there already stays."""
    model = Xetrieval.default() if path is None else Xetrieval(path)
    for name in only:
        collection = embedded(data, vectors, name)
        trial, file = Trial.of(model, collection, cache / f"{name}.flex"), out / f"{name}.json"
        told = json.loads(file.read_text()) if file.exists() else {"collection": name, "documents": len(collection.docnos)}
        stage = model.calibrated(trial.index)
        n, groups = len(collection.qids), shared_groups(collection.judged)
        told |= {"topicality": round(stage.topicality, 4), "strength": stage.exponent, "queries": n}
        told["sharing"] = np.flatnonzero(np.bincount(groups)[groups] > 1).tolist()  # queries
        values = told.setdefault("ndcg", {})
        runs = [("", told, trial)]
        if told["sharing"]:  # elsewhere the folds are the same
            runs.append(("grouped ", told.setdefault("grouped", {}), replace(trial, groups=groups)))
        out.mkdir(parents=True, exist_ok=True)
        for title, run, own_trial in runs:
            for own in method or METHODS:
                found = run.setdefault("ndcg", {})
                if own in found or not _applies(own, values, n) or (run is not told and own in UNSUPERVISED):
                    continue
                start = time.perf_counter()
                found[own] = measured(own_trial, own).round(5).tolist()
                run.setdefault("seconds", {})[own] = round(time.perf_counter() - start, 1)
                click.echo(f"{name} {title}{own} {100 * np.mean(found[own]):.1f} ({run['seconds'][own]} s)")
                write_json(file, told)
        if "links" not in told and "calibrated + links" in values:
            tuning = learned(trial)
            told["links"] = json.loads(tuning.links.to_json(orient="records"))
        write_json(file, told)


def _applies(method: str, values: dict, queries: int) -> bool:
    return method in UNSUPERVISED or (queries >= LEAST_QUERIES and np.mean(values["dense"]) < CEILING)


@main.command(cls=Command, interrupted="What was measured is kept; run the command again to go on.")
@_options
@click.option("--only", multiple=True, required=True)
def curve(data: Path, vectors: Path, out: Path, cache: Path, path: str | None, only: tuple) -> None:
    """Calibration and links learned from 10 to 1,000 judged queries; a fifth of the queries is never learned from."""
    model = Xetrieval.default() if path is None else Xetrieval(path)
    rows = []
    for name in only:
        trial = Trial.of(model, embedded(data, vectors, name), cache / f"{name}.flex")
        order = np.random.default_rng(0).permutation(len(trial.collection.qids))
        test, train = np.split(order, [len(order) // FOLDS])
        before = _ndcg(trial, METHODS["calibrated"](trial, train, test), test)
        for size in (*(s for s in SIZES if s < len(train)), len(train)):
            tuner = fitted(trial, train[:size])
            gain = _ndcg(trial, trial.changed(tuner, test), test) - before
            rows.append({"collection": name, "queries": size, "links": len(tuner.tuning or ()), "gain": gain.mean(),
                         "error": gain.std(ddof=1) / np.sqrt(len(gain))})  # fmt: skip
            click.echo(rows[-1])
    write_json(out / "curve.json", {"rows": rows})


@main.command(cls=Command, interrupted="What was measured is kept; run the command again to go on.")
@_options
@click.argument("pairs", nargs=-1, required=True)
def transfer(data: Path, vectors: Path, out: Path, cache: Path, path: str | None, pairs: tuple) -> None:
    """Links learned on one collection, used on another: FROM:TO."""
    model = Xetrieval.default() if path is None else Xetrieval(path)
    rows = []
    for source, target in (pair.split(":") for pair in pairs):
        one, other = (Trial.of(model, embedded(data, vectors, n), cache / f"{n}.flex") for n in (source, target))
        train = np.random.default_rng(0).permutation(len(one.collection.qids))[:1000]
        tuning, test = fitted(one, train).tuning, np.arange(len(other.collection.qids))
        assert tuning is not None
        before = METHODS["calibrated"](other, train, test)
        stage = model.calibrated(other.index) >> FeatureLinks(model, tuning)
        gain = _ndcg(other, other.changed(stage, test), test) - _ndcg(other, before, test)
        rows.append(
            {"from": source, "to": target, "links": len(tuning), "gain": gain.mean(), "p": stats.ttest_1samp(gain, 0).pvalue}
        )
        click.echo(rows[-1])
    write_json(out / "transfer.json", {"rows": rows})


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the files are.")
@click.option("--page", "file", type=click.Path(path_type=Path), default=Path("docs/tuning.md"))
def report(out: Path, file: Path) -> None:
    """Writes the page."""
    with replacing(file) as target:
        target.write(page(out))


if __name__ == "__main__":
    main()
