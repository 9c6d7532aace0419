"""Cases for the stages of indexes, of encoders, and of evidence."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd

from tests.helpers.fuzz.cells import NO_VECTORS, VECTORS, read
from tests.helpers.fuzz.frames import HOSTILE, Case, frames
from tests.helpers.fuzz.oracle import ranks
from tests.helpers.fuzz.outcomes import SECRET, Source, judged
from tests.helpers.fuzz.stages import check_explanation, frame_entry, near, size
from tests.helpers.fuzz.world import ASPECTS, TEXTS, WORLD


def _docnos(src: Source, deleted: bool) -> list:
    known = [d for d in WORLD.docnos if not (deleted and d in ("d1", "7"))]
    return src.pick([known[:6], known[4:], [*known[:3], "no"], [*known[:3], "d1" if deleted else "d99"], [7, 7.0, 7]])


def _unknown(case: Case, deleted: bool) -> str | None:
    known = {d for d in WORLD.docnos if not (deleted and d in ("d1", "7"))}
    strange = [d for d in case.docnos if (d if isinstance(d, str) else str(int(d))) not in known]
    return f"unknown docno {strange[0]!r}" if strange else "a missing docno" if "docno" in case.odd and len(case) else None


def _vector(docno) -> np.ndarray:
    return WORLD.vectors[WORLD.docnos.index(docno if isinstance(docno, str) else str(int(docno)))].astype(np.float64)


def _loader(column: str, expected, make):
    def entry(src: Source) -> bool:
        deleted = src.chance(5)
        index = WORLD.deleted if deleted else WORLD.index
        case = frames(src, columns=("query_vec",), docnos=_docnos(src, deleted))
        harm = _unknown(case, deleted)
        case.odd.discard("docno")
        if src.chance(3):
            case.frame["docid"] = src.pick([0, -1, 10**9, 2.5, "x", None])

        def compare(case, out):
            assert all(np.array_equal(found, expected(d)) for d, found in zip(case.docnos, out[column]))

        return frame_entry(src, lambda: make(index), compare, case=case, reads={"docno"}, changed={column}, harm=harm)

    return entry


def _text(docno) -> str:
    return TEXTS[WORLD.docnos.index(docno if isinstance(docno, str) else str(int(docno))) % 6]


def index_explainer(src: Source) -> bool:
    deleted, threshold = src.chance(5), src.pick([0.0, 0.0, 0.2])
    index = WORLD.deleted if deleted else WORLD.index
    plain = src.chance(3)
    case = frames(src, columns=("query_vec",), docnos=_docnos(src, deleted))
    harm = _unknown(case, deleted)
    if src.chance(3):
        case.frame["docid"] = src.pick([0, -1, 10**9, 2.5, "x", None])
    case.odd.discard("docno")

    def compare(case, out):
        for i, e in enumerate(out["explanation"]):
            q, z = case.vectors["query_vec"][i].astype(np.float64), _vector(case.docnos[i])
            views = {} if plain else {a: WORLD.oracle.view(a, z) for a in ASPECTS}
            if threshold == 0:  # stored activations are rounded to 256 levels
                check_explanation(e, q, z, views, refit=True, threshold=0.0, tolerance=3)
            else:
                near(e.score, q @ WORLD.oracle.folded(z, views), size(q, z), 3e-5)

    seen = index.with_views(()) if plain else index
    return frame_entry(src, lambda: seen.explainer(threshold=threshold), compare, case=case, reads={"query_vec", "docno"},
                       sees={"qid"}, changed={"explanation", "query_vec"}, harm=harm)  # fmt: skip


def _topics(src: Source) -> Case:
    """Each query once."""
    case = frames(src, columns=("query_vec",), docnos=["d0"])
    case.frame = case.frame.drop(columns=[c for c in ("docno", "score", "rank") if c in case.frame.columns])
    first = [i for i, qid in enumerate(case.qids) if case.qids.index(qid) == i and i not in case.gaps]
    if "qid" not in case.odd and "query_vec" not in case.bad:
        case.frame = case.frame.iloc[first]
        case.qids, case.vectors = [case.qids[i] for i in first], {"query_vec": case.vectors["query_vec"][first]}
        case.gaps = []
    case.bad.pop("docno", None), case.odd.discard("docno")
    return case


def _retrieval(src: Source, case: Case, make, scores_of, number: int, *, reads: set[str], exact: bool) -> bool:
    def compare(out: pd.DataFrame) -> None:
        for q in range(len(case)):
            own = out[out["qid"].map(lambda x, q=q: x == case.qids[q])]
            expected = scores_of(q)
            wanted = min(number, (expected > 0).sum() if not exact else len(expected))
            scale = 1 + np.abs(expected).max(initial=0)
            best = np.sort(expected)[::-1][:wanted]
            if exact:
                assert len(own) == wanted, f"{len(own)} results, expected {wanted}"
                near(np.sort(own["score"].astype(float))[::-1], best, scale, 2e-4)
            names = WORLD.docnos
            for docno, score in zip(own["docno"], own["score"].astype(float)):
                near(score, expected[names.index(docno)], scale, 2e-4 if exact else 2e-2)
            assert own["rank"].tolist() == ranks([0] * len(own), own["score"].tolist())

    odd = bool({"qid"} & (case.odd | set(case.bad)))
    harm = case.harm(reads)
    if odd and harm and set(case.bad) <= {"qid"} and case.bad["qid"] not in ("missing",):
        harm = None
    idle = not len(case) and bool(harm) and "missing" not in harm
    return judged(lambda: make().transform(case.frame), compare if not odd else lambda out: None, harm=harm, either=odd or idle)


def index_retriever(src: Source) -> bool:
    case, number, deleted = _topics(src), src.pick([1, 2, 5, 1000]), src.chance(5)
    index, plain = (WORLD.deleted if deleted else WORLD.index), src.chance(3)
    gone = [WORLD.docnos.index(d) for d in ("d1", "7")] if deleted else []
    folded = np.array([WORLD.oracle.folded(z, {} if plain else {a: WORLD.oracle.view(a, z) for a in ASPECTS})
                       for z in WORLD.vectors.astype(np.float64)])  # fmt: skip

    def scores(q: int) -> np.ndarray:
        found = folded @ case.vectors["query_vec"][q].astype(np.float64)
        found[gone] = -np.inf
        return found

    def left(q: int) -> np.ndarray:
        found = scores(q)
        return found if not gone else np.where(np.isinf(found), found[np.isfinite(found)].min() - 1, found)

    number = min(number, len(WORLD.docnos) - len(gone))
    seen = index.with_views(()) if plain else index
    return _retrieval(src, case, lambda: seen.retriever(num_results=number), left, number, reads={"qid", "query_vec"}, exact=True)


def _activations(vector: np.ndarray) -> dict[int, float]:
    found: dict[int, float] = {}
    for view in (vector, *(WORLD.oracle.view(a, vector) for a in ASPECTS)):
        for j, a in WORLD.oracle.code(view)[0].items():
            found[j] = max(found.get(j, 0.0), a)
    return found


def _feature_scores(weights: dict[int, float]) -> np.ndarray:
    each = WORLD.activations if hasattr(WORLD, "activations") else [_activations(z) for z in WORLD.vectors.astype(np.float64)]
    WORLD.activations = each
    return np.array([sum(w * own.get(j, 0.0) for j, w in weights.items()) for own in each])


def feature_retriever(src: Source) -> bool:
    """By the features of each query."""
    case, number = _topics(src), src.pick([1, 3, 1000])

    def scores(q: int) -> np.ndarray:
        return _feature_scores(WORLD.oracle.code(case.vectors["query_vec"][q].astype(np.float64))[0])

    make = lambda: WORLD.index.feature_retriever(num_results=number)  # noqa: E731
    return _retrieval(src, case, make, scores, number, reads={"qid", "query_vec"}, exact=False)


def chosen_features(src: Source) -> bool:
    """By features that somebody names, in all the ways in which they can be named, and in some that are none."""
    ids = [int(j) for j in np.random.default_rng(src.seed()).integers(48, size=3)]
    good = {
        "ids": ids, "array": np.array(ids), "weights": {j: 0.5 for j in ids}, "one label": f"{ids[0]}",
        "Series": pd.Series([0.5] * len(set(ids)), index=pd.Index(sorted(set(ids)), name="feature")),
        "frame": pd.DataFrame({"feature": ids}), "set": set(ids), "range": range(2, 5), "uint8": np.array(ids, np.uint8),
    }  # fmt: skip
    wrong = {
        "outside": [48], "negative": [-1], "none": [], "empty mapping": {}, "NaN": {3: float("nan")}, "text weight": {3: "x"},
        "no label": "zzzz", "nested": [[1], [2, 3]], "floats": [1.5], "object": object(), "huge": [10**30], "None": [None],
        "truths": [True, False], "empty label": "", "two dimensions": np.zeros((2, 2), int), "number": 3, "bytes": b"x",
    }  # fmt: skip
    kind = src.pick([*good, *good, *wrong])
    frame = pd.DataFrame({"qid": ["1", "2"], "query": ["a", "b"]})
    weight = 0.5 if kind in ("weights", "Series") else 1.0
    names = set(range(2, 5)) if kind == "range" else {ids[0]} if kind == "one label" else set(ids)

    def compare(out):
        if kind == "one label":  # every label that contains the number as a word
            return
        expected = _feature_scores(dict.fromkeys(names, weight))
        for _, own in out.groupby("qid"):
            for docno, score in zip(own["docno"], own["score"]):
                near(score, expected[WORLD.docnos.index(docno)], 1, 3e-2)
            assert own["rank"].tolist() == list(range(len(own)))

    return judged(lambda: WORLD.index.feature_retriever({**good, **wrong}[kind])(frame), compare,
                  harm=kind if kind in wrong else None, names=["FeatureRetriever", "IndexRetriever"])  # fmt: skip


def documents_of(src: Source) -> bool:
    feature, number = src.seed() % 48, src.pick([None, 1, 3])
    if src.chance(4):
        feature = src.pick([feature, np.int32(5), 48, -1, 1.5, None, "zzz", True, 10**20, [1], "7"])
        number = src.pick([None, 1, 3, 0, -1, "x", 2.0])
    fine = isinstance(feature, (int, np.integer)) and not isinstance(feature, bool) and 0 <= feature < 48
    harm = None if fine and number in (None, 1, 3) else "no feature or no number"

    def compare(out):
        own = {d: _activations(z).get(int(feature), 0.0) for d, z in zip(WORLD.docnos, WORLD.vectors.astype(np.float64))}
        found = dict(zip(out["docno"], out["activation"]))
        assert set(found) <= {d for d, a in own.items() if a > -1e-5}
        assert len(found) == min(number or 99, sum(a > 1e-5 for a in own.values()))
        for docno, activation in found.items():
            near(activation, own[docno], 1, 2e-2)

    either = isinstance(number, float) or feature in ("7", True) or isinstance(feature, list)
    return judged(lambda: WORLD.index.documents_of(feature, num_results=number), compare if fine else lambda out: None,
                  harm=harm, either=either, names=["documents_of"])  # fmt: skip


def features_of(src: Source) -> bool:
    docno = (
        f"x{src.seed()}"
        if src.chance(2)
        else src.pick(
            [
                *WORLD.docnos,
                *WORLD.docnos,
                "no",
                7,
                7.0,
                7.5,
                None,
                float("nan"),
                "",
                "007",
                "\ud800",
                "d0\0",
                ["d0"],
                b"d0",
                "D0",
                "d" * 9999,
            ]
        )
    )
    known = docno in WORLD.docnos if isinstance(docno, str) else docno == 7

    def compare(out):
        own = _activations(_vector(docno))
        for j, a in zip(out["feature"], out["activation"]):
            near(a, own.get(j, 0.0), 1, 2e-2)
        assert {j for j, a in own.items() if a > 1e-4} <= set(out["feature"])

    return judged(lambda: WORLD.index.features_of(docno), compare, harm=None if known else f"docno {docno!r}"[:60])


def indexing(src: Source) -> bool:
    """A small corpus is indexed, and read back."""
    rng, n = np.random.default_rng(src.seed()), src.number(1, 5)
    kind, wrong = src.pick(list(VECTORS)), src.chance(4)
    documents = [{"docno": f"d{i}", "doc_vec": VECTORS[kind](v), "text": src.pick(TEXTS)} for i, v in
                 enumerate(rng.normal(size=(n, 16)).astype(np.float32) / 4)]  # fmt: skip
    expected = np.stack([read(d["doc_vec"]) for d in documents])
    texts, harm = src.chance(5), None
    if wrong:
        place = documents[int(rng.integers(n))]
        harm = src.pick(["vector", "vector", "docno", "text", "no docno", "no vector", "no dict", "twice"])
        if harm == "vector":
            place["doc_vec"] = NO_VECTORS[src.pick(list(NO_VECTORS))](np.ones(16, np.float32))
        elif harm == "docno":
            place["docno"] = src.pick(["", "a\0b", "\ud800", "x" * 5000, None, float("nan"), [1], b"x", "é" * 3000])
        elif harm == "text":
            place["text"] = src.pick([None, float("nan"), 42, b"x", ["tea"]])
            harm = "text" if texts else None
        elif harm == "twice":
            documents = [*documents, dict(documents[0])]
        elif harm == "no dict":
            documents = src.pick([[*documents, "x"], [None], 7, [documents], "text", []])
        else:
            del place["docno" if harm == "no docno" else "doc_vec"]
    path = WORLD.folder / f"new{src.seed()}{len(list(WORLD.folder.iterdir()))}"
    given = pd.DataFrame(documents) if isinstance(documents, list) and harm is None and src.chance(3) else documents

    def call():
        made = WORLD.model.indexer(path, texts=texts, shard_size=src.pick([2, 100]), dtype="float32")
        return made.index(given)

    def compare(index):
        np.testing.assert_array_equal(np.asarray(index.vectors.np_vecs()), expected)
        index.verify()

    try:
        return judged(call, compare, harm=harm, names=["XetrievalIndexer", str(path)])
    finally:
        shutil.rmtree(path, ignore_errors=True)


def encoder_stage(src: Source) -> bool:
    """Texts to vectors, as the encoder itself gives them."""
    case, side = frames(src, columns=(), queries=True), src.pick(["query", "text"])
    encoder = WORLD.encoder
    stage = (lambda: encoder.query_encoder()) if side == "query" else (lambda: encoder.doc_encoder())
    column = "query_vec" if side == "query" else "doc_vec"
    vectors: dict[str, np.ndarray] = WORLD.__dict__.setdefault("encoded", {})

    def compare(case, out):
        for text, vector in zip(case.frame[side].tolist(), out[column]):
            if text not in vectors:
                vectors[text] = encoder.encode_docs([text.encode("utf-8", "replace").decode() if "\ud800" in text else text])[0]
            if "\ud800" not in text:
                np.testing.assert_allclose(vector, vectors[text], atol=1e-5)
            assert np.isfinite(vector).all()

    if case.bad.get("qid") == "missing" or case.bad.get("docno") == "missing":  # texts alone will do
        case.odd |= {"qid", "docno"}
        case.bad.pop("qid", None), case.bad.pop("docno", None)
    ids = "qid" if side == "query" else "docno"
    if case.bad.get(ids) == "twice":
        case.bad[side] = f"{ids} twice"
    return frame_entry(src, stage, compare, case=case, reads={side}, sees={ids}, changed={column})


def evidence(src: Source) -> bool:
    """The words' parts add up to the explanation's."""
    case = frames(src, columns=(), queries=True)
    if case.bad or case.odd or not len(case):
        ok = WORLD.__dict__.setdefault("ok", None) or WORLD.model.explain("sort", "sort a list")
        WORLD.ok = ok
        frame = case.frame.assign(explanation=[ok] * len(case), query_vec=[np.ones(16, np.float32)] * len(case),
                                  doc_vec=[np.ones(16, np.float32)] * len(case))  # fmt: skip
        harm = case.harm({"query", "text", "qid", "docno"})
        return judged(lambda: WORLD.model.evidence().transform(frame), lambda out: None, harm=harm, names=["FeatureEvidence", "Missing", "columns"],
                      either=bool(case.odd) or (bool(case.bad) and set(case.bad) <= {"qid", "docno"}) or harm is None)  # fmt: skip
    frame = (WORLD.encoder.query_encoder() >> WORLD.encoder.doc_encoder() >> WORLD.model.explainer()).transform(case.frame)

    def compare(out):
        for before, e in zip(frame["explanation"], out["explanation"]):
            assert e == before
            for side in ("query", "document"):
                table = e.evidence.table(side).to_numpy().sum(axis=1)
                near(table, [*e.contributions, e.other, e.bias, e.residual], 1, 1e-4)

    return judged(lambda: WORLD.model.evidence().transform(frame), compare, harm=None, names=["FeatureEvidence"])


def index_evidence(src: Source) -> bool:
    """The query's words add up; the document's are in its text."""
    case = frames(src, columns=(), queries=True, docnos=src.pick([["w0", "w1", "w4"], ["w2", "w3", "w5"], ["w0", "no"]]))
    stage = WORLD.words.explainer()
    harm = case.harm({"query", "qid", "docno"})
    if case.bad or case.odd or "no" in case.docnos or not len(case):
        frame = case.frame.assign(explanation=None, query_vec=[np.ones(16, np.float32)] * len(case))
        return judged(lambda: WORLD.words.evidence().transform(frame), lambda out: None,
                      harm="no explanations" if len(case) else harm, names=["IndexEvidence"], either=not len(case))  # fmt: skip
    frame = stage.transform(WORLD.encoder.query_encoder().transform(case.frame.drop(columns="text")))

    def compare(out):
        for e in out["explanation"]:
            near(e.evidence.table("query").to_numpy().sum(axis=1), [*e.contributions, e.other, e.bias, e.residual], 1, 1e-4)
            for i in range(len(e)):
                for phrase in e.evidence.phrases("document", i):
                    assert phrase.text in e.evidence.document

    return judged(lambda: WORLD.words.evidence().transform(frame), compare, harm=None, names=["IndexEvidence"])


def explain_texts(src: Source) -> bool:
    """Two strings, or what is none."""
    texts = ["sort a list", "", "Rivers", " ", SECRET, "\ud800", "[SEP]", "東京", *HOSTILE[:3]]
    query, text, wrong = src.pick(texts), src.pick(texts), src.chance(3)
    if wrong:
        bad = src.pick([None, 42, b"x", ["a"], float("nan"), {}])
        query, text = src.pick([(query, bad), (bad, text)])

    def compare(e):
        near(e.contributions.sum(dtype=np.float64) + e.other + e.bias + e.residual, e.score, 1, 1e-9)
        q, z = WORLD.encoder.encode_docs([t.replace("\ud800", "\ufffd") for t in (query, text)]).astype(np.float64)
        near(e.score, q @ WORLD.oracle.folded(z, {a: WORLD.oracle.view(a, z) for a in ASPECTS}), 3, 2e-5)

    return judged(
        lambda: WORLD.model.explain(query, text), compare, harm="no text" if wrong else None, names=["Xetrieval.explain"]
    )


def why_not(src: Source) -> bool:
    query = src.pick(["sort a list", "", "\ud800", SECRET, f"rivers {src.seed() % 500}", f"list {src.seed() % 500}"])
    docno, number, index = src.pick(WORLD.docnos), src.pick([1, 3, 10, 100]), src.pick([WORLD.index, WORLD.flex, WORLD.deleted])
    if src.chance(3):
        docno = src.pick([docno, "no", None, 7, "", 1.5, "\ud800"])
        number, index = src.pick([number, number, 0, -1, "x", None]), src.pick([index, index, "index", None])
    gone = index is WORLD.deleted and docno in ("d1", "7", 7)
    fine = (
        (docno in WORLD.docnos or docno == 7)
        and not gone
        and number in (1, 3, 10, 100)
        and not isinstance(index, (str, type(None)))
    )

    def compare(found):
        q = WORLD.encoder.encode_queries([query.replace("\ud800", "\ufffd")])[0].astype(np.float64)
        views = {} if index is WORLD.flex else ASPECTS
        scores = {d: q @ WORLD.oracle.folded(z, {a: WORLD.oracle.view(a, z) for a in views})
                  for d, z in zip(WORLD.docnos, WORLD.vectors.astype(np.float64)) if not (index is WORLD.deleted and d in ("d1", "7"))}  # fmt: skip
        own = scores[str(docno)]
        assert abs(sum(s > own + 1e-6 for s in scores.values()) - found.rank) <= sum(abs(s - own) < 1e-5 for s in scores.values())

    return judged(
        lambda: WORLD.model.why_not(query, docno, index, num_results=number), compare, harm=None if fine else "no question"
    )


ENTRIES = {
    "index.vec_loader()": _loader("doc_vec", lambda d: _vector(d).astype(np.float32), lambda index: index.vec_loader()),
    "index.text_loader()": _loader("text", lambda d: np.array(_text(d)), lambda index: index.text_loader()),
    "index.explainer()": index_explainer,
    "index.retriever()": index_retriever,
    "index.feature_retriever()": feature_retriever,
    "index.feature_retriever(features)": chosen_features,
    "index.documents_of(feature)": documents_of,
    "index.features_of(docno)": features_of,
    "model.indexer(path).index(corpus)": indexing,
    "encoder.query_encoder(), .doc_encoder()": encoder_stage,
    "model.evidence()": evidence,
    "index.evidence()": index_evidence,
    "model.explain(query, text)": explain_texts,
    "model.why_not(query, docno, index)": why_not,
}
