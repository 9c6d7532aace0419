"""Cases for the stages that a model makes: frames of every kind, the answers compared with the oracle's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from pyterrier_xetrieval import Explanation, MultiViewScorer, VectorLoader
from tests.helpers.fuzz.frames import Case, frames
from tests.helpers.fuzz.oracle import ranks
from tests.helpers.fuzz.outcomes import Source, judged
from tests.helpers.fuzz.world import ASPECTS, WORLD


def size(*vectors: np.ndarray) -> float:
    """How large numbers made of these vectors may be: what tolerances are of."""
    return 1 + float(np.prod([1 + np.linalg.norm(v.astype(np.float64)) for v in vectors]))


def near(found, expected, scale: float, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=0, atol=tolerance * scale)


def kept(before: pd.DataFrame, after: pd.DataFrame, changed: set[str]) -> None:
    """Rows, index and all other columns are as they were."""
    assert len(after) == len(before) and after.index.equals(before.index), "other rows"
    for i, column in enumerate(before.columns):
        if column not in changed and list(before.columns).count(column) == 1:
            a, b = before.iloc[:, i].tolist(), after[column].tolist()
            assert all(x is y or x == y or (x != x and y != y) for x, y in zip(a, b) if np.isscalar(x)), f"another {column}"


def frame_entry(
    src: Source, stage: Callable[[], object], compare: Callable[[Case, pd.DataFrame], None], *, case: Case, reads: set[str],
    changed: set[str], fills: bool = True, sees: set[str] = frozenset(), harm: str | None = None,
) -> bool:  # fmt: skip
    """One frame through one stage; ``sees``: columns of ids that it looks at beside those that it reads."""
    made = stage()
    before = case.frame.copy(deep=False)
    cells = {c: [np.array(x, copy=True) if isinstance(x, np.ndarray) else x for x in before[c].tolist()]
             for c in case.vectors if isinstance(before.get(c), pd.Series)}  # fmt: skip

    def compared(out: pd.DataFrame) -> None:
        kept(before, out, changed)
        for column, old in cells.items():
            for x, y in zip(old, before[column].tolist()):
                assert not isinstance(x, np.ndarray) or (
                    x.dtype.kind == "O" or np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
                )
        compare(case, out)

    found = harm or case.harm(reads | sees, fills=fills)
    idle = not len(case) and found and "missing" not in found  # of an empty frame some stages read no column
    either = (
        bool(case.odd & (reads | sees))
        or bool(idle)
        or (found is None and any(c in case.bad for c in ("qid", "docno") if c not in reads))
    )
    return judged(
        lambda: made.transform(case.frame),
        compared,
        harm=found,
        names=[type(made).__name__, "XetrievalIndex(", "Encoder", "encoder()"],
        either=either,
    )


def _views_read(case: Case, aspects=ASPECTS) -> set[str]:
    return {f"doc_vec_{a}" for a in aspects if f"doc_vec_{a}" in case.frame.columns}


def internalizer(src: Source) -> bool:
    case, size_ = frames(src), src.pick([1, 2, 4096])

    def compare(case, out):
        for aspect in ASPECTS:
            for z, view in zip(case.vectors["doc_vec"].astype(np.float64), out[f"doc_vec_{aspect}"]):
                near(view, WORLD.oracle.view(aspect, z), 1, 3e-5)

    own = {f"doc_vec_{a}" for a in ASPECTS}
    return frame_entry(src, lambda: WORLD.model.internalizer(batch_size=size_), compare, case=case, reads={"doc_vec"},
                       changed={"doc_vec", *own})  # fmt: skip


def _scores(case: Case, out: pd.DataFrame, weights: dict[str, float]) -> None:
    for i in range(len(case)):
        q, z = case.vectors["query_vec"][i].astype(np.float64), case.vectors["doc_vec"][i].astype(np.float64)
        views = case.views(i, weights)
        expected = q @ (z + sum((weights[a] * v for a, v in views.items()), np.zeros_like(z)))
        near(out["score"].iloc[i], expected, size(q, z, *views.values()))
    if not case.odd:
        assert out["rank"].tolist() == ranks(case.qids, out["score"].tolist())


def scorer(src: Source) -> bool:
    case = frames(src, aspects=ASPECTS)
    return frame_entry(src, WORLD.model.scorer, lambda c, out: _scores(c, out, WORLD.oracle.weights), case=case,
                       reads={"qid", "docno", "query_vec", "doc_vec"} | _views_read(case),
                       changed={"score", "rank", "query_vec", "doc_vec", *_views_read(case)})  # fmt: skip


def plain_scorer(src: Source) -> bool:
    """Without a model: all views count, those that no model knows too."""
    case = frames(src, aspects=(*ASPECTS, "mine"))
    strange = "doc_vec_foreign" in case.frame.columns and len(case)
    every = {c for c in case.frame.columns if isinstance(c, str) and c.startswith("doc_vec")}
    return frame_entry(src, MultiViewScorer, lambda c, out: _scores(c, out, dict.fromkeys((*ASPECTS, "mine"), 1.0)), case=case,
                       reads={"qid", "docno", "query_vec", "doc_vec"} | every, changed={"score", "rank", "query_vec", *every},
                       harm="a view of texts" if strange else None)  # fmt: skip


def fold(src: Source) -> bool:
    case, batch = frames(src, aspects=ASPECTS), src.pick([1, 4096])

    def compare(case, out):
        assert not _views_read(Case(out, {}, [], []))
        for i, folded in enumerate(out["doc_vec"]):
            z, views = case.vectors["doc_vec"][i].astype(np.float64), case.views(i, ASPECTS)
            near(folded, WORLD.oracle.folded(z, views), size(z, *views.values()))

    views = _views_read(case)
    case.frame = case.frame.copy()
    changed = {"doc_vec", *views, "doc_vec_summary", "doc_vec_qa"}
    before = case.frame

    def kept_but_views(case, out):
        compare(case, out)

    made = WORLD.model.fold(batch_size=batch)
    harm = case.harm({"doc_vec"} | views)
    either = bool({"qid", "docno"} & set(case.bad))
    return judged(lambda: made.transform(before), lambda out: (kept(before.drop(columns=list(views)), out, changed),
                  kept_but_views(case, out)), harm=harm, names=["FoldViews"], either=either)  # fmt: skip


def explained(case: Case, out: pd.DataFrame, *, refit: bool, threshold: float, docnos=None) -> None:
    """Every number of every explanation."""
    for i, e in enumerate(out["explanation"]):
        q, z = case.vectors["query_vec"][i].astype(np.float64), case.vectors["doc_vec"][i].astype(np.float64)
        views = case.views(i, ASPECTS)
        check_explanation(e, q, z, views, refit=refit, threshold=threshold)
        if not case.odd and not case.bad:
            assert e.qid == case.qids[i] and e.docno == case.docnos[i]


def check_explanation(e: Explanation, q, z, views, *, refit: bool, threshold: float, tolerance: float = 1.0) -> None:
    score, shared, every, bias, close = WORLD.oracle.parts(q, z, views, refit=refit, threshold=threshold)
    scale = tolerance * size(q, z, *views.values())
    near(e.score, score, scale)
    near(e.contributions.sum(dtype=np.float64) + e.other + e.bias + e.residual, e.score, scale, 1e-9)
    near(e.bias, bias, scale)
    assert np.isfinite([e.score, e.other, e.bias, e.residual, *e.contributions]).all()
    if close:
        return
    assert set(e.features.tolist()) == set(shared), f"features {sorted(e.features.tolist())}, expected {sorted(shared)}"
    loose = 3e-2 if refit else 2e-5  # refitting stops at a thousandth of its gradient
    near(e.shared + e.other, every, scale, loose)
    if not refit:
        near(e.contributions, [shared[j] for j in e.features.tolist()], scale, loose)
    assert (np.diff(e.contributions) <= 0).all()


def explainer(src: Source) -> bool:
    case = frames(src, aspects=ASPECTS)
    refit, threshold = src.chance(5), src.pick([0.0, 0.0, 0.05, 0.3])
    options = {"refit": refit, "threshold": threshold, "top": src.pick([1, 10]), "batch_size": src.pick([1, 3, 512])}
    views = _views_read(case)
    return frame_entry(src, lambda: WORLD.model.explainer(**options),
                       lambda c, out: explained(c, out, refit=refit, threshold=threshold), case=case,
                       reads={"query_vec", "doc_vec"} | views, sees={"qid", "docno"},
                       changed={"explanation", "query_vec", "doc_vec", *views})  # fmt: skip


def reconstructor(src: Source) -> bool:
    case = frames(src, columns=src.pick([("query_vec", "doc_vec"), ("doc_vec",), ("query_vec",)]))
    there, refit = set(case.vectors), src.chance(5)

    def compare(case, out):
        for column in there:
            for x, found in zip(case.vectors[column].astype(np.float64), out[column]):
                expected, close = WORLD.oracle.decoded(x, refit=refit)
                if not close:
                    near(found, expected, size(x), 3e-2 if refit else 2e-5)

    return _either_column(
        src, lambda: WORLD.model.reconstructor(refit=refit, batch_size=src.pick([1, 1024])), compare, case, there
    )


def _either_column(src, stage, compare, case: Case, there: set[str]) -> bool:
    """A stage that works on whichever of the two columns the frame has."""
    lost = {c for c in there if case.bad.get(c) == "missing"}
    for column in lost if lost < there else ():
        del case.bad[column]
        there.discard(column)
    return frame_entry(src, stage, compare, case=case, reads=set(there), changed=set(there))


def normalizer(src: Source) -> bool:
    case = frames(src, columns=src.pick([("query_vec", "doc_vec"), ("doc_vec",), ("query_vec",)]))
    there = set(case.vectors)

    def compare(case, out):
        for column in there:
            for x, found in zip(case.vectors[column].astype(np.float64), out[column]):
                near(found, x / (np.linalg.norm(x) or 1), 1, 1e-6)

    return _either_column(src, WORLD.model.normalizer, compare, case, there)


def _intervention(mode: str) -> Callable[[Source], bool]:
    def entry(src: Source) -> bool:
        target, alpha = src.pick(["doc", "query", "both"]), src.pick([0.0, 1.0, 0.5, -2.0])
        case = frames(src, aspects=ASPECTS)
        features = sorted(set(np.random.default_rng(src.seed()).integers(48, size=src.pick([0, 1, 3, 20, 40])).tolist()))
        options = {"alpha": alpha} if mode in ("scale", "add") else {}
        columns = ({"query_vec"} if target != "doc" else set()) | (
            {"doc_vec"} | _views_read(case) if target != "query" else set()
        )
        how = src.pick(["list", "array", "function", "Series"])
        given = {"list": features, "array": np.array(features, np.int64), "Series": pd.Series(features, dtype=np.int64)}.get(
            how, lambda row: features)  # fmt: skip

        def compare(case, out):
            for column in columns:
                for x, found in zip(case.vectors[column].astype(np.float64), out[column]):
                    expected, close = WORLD.oracle.edited(x, features, mode, alpha, np.linspace(0.5, 2, 48))
                    if not close:
                        near(found, expected, size(x) * (1 + abs(alpha)), 2e-4)

        return frame_entry(src, lambda: WORLD.model.intervention(mode, features=given, target=target, batch_size=src.pick([1, 256]),
                           **options), compare, case=case, reads=columns, changed=columns)  # fmt: skip

    return entry


def shared_intervention(src: Source) -> bool:
    """The shared features of each row's own explanation are erased."""
    case = frames(src, aspects=ASPECTS)
    if case.bad or case.odd or not len(case):
        wrong = case.frame.assign(explanation=src.pick([None, "x", 1.5, True]))
        harm = "no explanations" if len(case) else case.harm({"doc_vec"} | _views_read(case))
        return judged(lambda: WORLD.model.intervention(features="shared").transform(wrong), lambda out: None, harm=harm,
                      names=["FeatureIntervention"], either=not len(case))  # fmt: skip
    frame = WORLD.model.explainer().transform(case.frame)
    columns = {"doc_vec"} | _views_read(case)

    def compare(case, out):
        for column in columns:
            for x, found, e in zip(case.vectors[column].astype(np.float64), out[column], frame["explanation"]):
                expected, close = WORLD.oracle.edited(x, e.features.tolist(), "erase", 0, None)
                if not close:
                    near(found, expected, size(x), 2e-4)

    case.frame = frame
    return frame_entry(
        src, lambda: WORLD.model.intervention(features="shared"), compare, case=case, reads=columns, changed=columns
    )


def loader(src: Source) -> bool:
    """By docno from a FlexIndex; a docno that it does not hold is an error."""
    case = frames(src, columns=("query_vec",), docnos=src.pick([WORLD.docnos[:8], WORLD.docnos[6:], [*WORLD.docnos[:3], "no"]]))
    harm = "an unknown docno" if "no" in case.docnos else None
    harm = harm or ("a missing docno" if "docno" in case.odd and len(case) else None)
    case.odd.discard("docno")

    def compare(case, out):
        for docno, vector in zip(case.docnos, out["doc_vec"]):
            np.testing.assert_array_equal(vector, WORLD.vectors[WORLD.docnos.index(docno)])

    return frame_entry(src, lambda: VectorLoader(WORLD.flex), compare, case=case, reads={"docno"}, changed={"doc_vec"}, harm=harm)


ENTRIES = {
    "model.internalizer()": internalizer,
    "model.scorer()": scorer,
    "MultiViewScorer()": plain_scorer,
    "model.fold()": fold,
    "model.explainer()": explainer,
    "model.reconstructor()": reconstructor,
    "model.normalizer()": normalizer,
    **{f"model.intervention({mode!r})": _intervention(mode) for mode in ("erase", "keep_only", "scale", "add")},
    "model.intervention(features='shared')": shared_intervention,
    "VectorLoader(index)": loader,
}
