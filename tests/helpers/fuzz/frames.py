"""Result frames as users bring them: every type of column and cell, and what spoils a frame for a stage that reads the column."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tests.helpers.fuzz.cells import GAPS, NO_VECTORS, VECTORS, read
from tests.helpers.fuzz.outcomes import SECRET, Source

DIM = 16
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</script><b>",
    "{{ 7*7 }}",
    "a\0b",
    "\ud800",
    "é東",
    "%s %d",
]
QIDS = (["q0", "q1", "q2"], [0, 1, 2], HOSTILE[:3], [1.5, 2.5, -1.0], ["a b", "", "  "], [("a", 1), ("b", 2), ("a", 2)])
DOCNOS = (["d0", "d1", "d2", "d3"], [10, 11, 12, 13], HOSTILE[:4], ["07", "7", "007", "d" * 300])
TEXTS = ["sort a list", "", "Rivers run to the sea.", " \n", *HOSTILE, SECRET, "x" * 5000, "word " * 300, "東京" * 40]
PLAIN = {"as it is": None, "category": "category", "Arrow": "string[pyarrow]", "str": "str", "object": object}


@dataclass
class Case:
    """A frame, and what is in it.

    Attributes:
        frame: what a stage is given.
        vectors: column to float32 ``[n, m]``, what a stage has to read there.
        qids, docnos: plain values.
        bad: column to what is wrong with it; a stage that reads it has to refuse the frame.
        odd: columns that a stage may refuse or not, as no id is there.
        gaps: rows without a query_vec, which other rows of their query have.
    """

    frame: pd.DataFrame
    vectors: dict[str, np.ndarray]
    qids: list
    docnos: list
    bad: dict[str, str] = field(default_factory=dict)
    odd: set[str] = field(default_factory=set)
    gaps: list[int] = field(default_factory=list)

    def harm(self, reads, *, fills: bool = True) -> str | None:
        """What keeps a stage that reads these columns from the right answer."""
        found = [f"{column}: {what}" for column, what in self.bad.items() if column in reads]
        if self.gaps and "query_vec" in reads and not (fills and "qid" in self.frame.columns):
            found.append("query_vec: gaps")
        return "; ".join(found) or None

    def views(self, row: int, aspects) -> dict[str, np.ndarray]:
        """The views that the frame has of the document of a row, float64."""
        return {a: self.vectors[f"doc_vec_{a}"][row].astype(np.float64) for a in aspects if f"doc_vec_{a}" in self.vectors}

    def __len__(self) -> int:
        return len(self.qids)


def frames(src: Source, columns=("query_vec", "doc_vec"), *, aspects=(), docnos=None, queries: bool = False) -> Case:
    """A frame with these columns of vectors.

    Args:
        aspects: whose view columns it may have; docnos: what documents are called; queries: columns query and text.
    """
    rng, n = np.random.default_rng(src.seed()), src.pick([0, 1, 1, 2, 3, 4, 6])
    qid, docno = src.pick(QIDS), docnos or src.pick(DOCNOS)
    qi, di = rng.integers(3, size=n), rng.integers(len(docno), size=n)
    if aspects and src.chance(6):
        columns = (*columns, *(f"doc_vec_{a}" for a in aspects if rng.random() < 0.7))
    case = Case(pd.DataFrame(), {}, [qid[i] for i in qi], [docno[i] for i in di])
    data: dict[str, object] = {"qid": _ids(case.qids), "docno": _ids(case.docnos)}
    mixed = src.chance(3)
    for column in columns:
        rows, kind = (qi if column == "query_vec" else di), src.pick(list(VECTORS))
        data[column], case.vectors[column] = _vectors(src, rng, rows, kind, mixed and column != "query_vec")
    if queries:
        texts = [src.pick(TEXTS) for _ in range(4)]
        data["query"] = pd.Series(_objects([texts[i] for i in qi]), dtype=object)  # strings of pandas hold no half characters
        data["text"] = pd.Series(_objects([texts[i % 4] for i in di]), dtype=object)
    if src.chance(7):
        data |= {"score": rng.normal(size=n), "rank": np.arange(n)}
    case.frame = pd.DataFrame(data, index=pd.RangeIndex(n))
    for _ in range(src.number(0, 2)):
        _harmless(src, rng, case, qi)
    if src.chance(4):
        _harmful(src, rng, case, [*columns, "qid", "docno", *(["query", "text"] if queries else [])])
    return case


def _ids(values: list) -> object:
    return values if all(isinstance(v, str) for v in values) and values else _objects(values)


def _objects(values: list) -> np.ndarray:
    column = np.empty(len(values), object)
    for i, value in enumerate(values):  # numpy would look into tensors
        column[i] = value
    return column


def _vectors(src: Source, rng, rows, kind: str, mixed: bool) -> tuple[np.ndarray, np.ndarray]:
    base = rng.normal(size=(4, DIM)).astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    kinds = [src.pick(list(VECTORS)) if mixed else kind for _ in range(4)]
    own = [VECTORS[kind](v) for kind, v in zip(kinds, base)]
    copies = mixed or rng.random() < 0.3
    cells = [VECTORS[kinds[i]](base[i]) if copies else own[i] for i in rows]
    expected = np.stack([read(cell) for cell in cells]) if cells else np.empty((0, DIM), np.float32)
    return _objects(cells), expected


def _harmless(src: Source, rng, case: Case, qi) -> None:
    """Something that changes no answer."""
    frame, kind = case.frame, src.pick(HARMLESS)
    n = len(frame)
    if kind in ("category", "Arrow", "str", "object"):
        for column in ("qid", "docno"):
            if kind not in ("Arrow", "str") or all(isinstance(v, str) and v != "\ud800" for v in frame[column]):
                if not any(isinstance(v, tuple) for v in frame[column]):
                    frame[column] = frame[column].astype(PLAIN[kind])
    elif kind == "Arrow vectors" and n:
        import pyarrow as pa

        for column, expected in case.vectors.items():
            if column not in case.bad and not any(row in case.gaps for row in range(n)):
                lists = pa.array([v.tolist() for v in expected], pa.list_(pa.float32()))
                frame[column] = pd.Series(pd.arrays.ArrowExtensionArray(lists), index=frame.index)
    elif kind == "labels":
        frame.index = pd.Index(src.pick([[7] * n, [f"r{i % 2}" for i in range(n)], list(range(n))[::-1], [None] * n]))
    elif kind == "MultiIndex" and n:
        frame.index = pd.MultiIndex.from_arrays([[0] * n, [1] * n])
    elif kind == "foreign columns":
        case.frame = frame.assign(**{"doc_vec_foreign": "x", "doc_vec_": None, "mine": range(n), "explained": [[]] * n}, docid=-1)
        case.frame[0] = 1
        case.frame[("a", "b")] = 2
    elif kind == "twice a foreign column":
        case.frame = pd.concat([frame.assign(note=1), pd.DataFrame({"note": ["x"] * n}, index=frame.index)], axis=1)
    elif kind == "order of columns":
        case.frame = frame[list(rng.permutation(frame.columns))] if all(isinstance(c, str) for c in frame.columns) else frame
    elif kind == "no score":
        case.frame = frame.drop(columns=[c for c in ("score", "rank") if c in frame.columns])
    elif kind == "odd scores" and "score" in frame.columns:
        odd = src.pick([["x"] * n, [None] * n, [float("inf")] * n, [pd.NA] * n, [True] * n, ["1.5"] * n, [10**400] * n])
        frame["score"] = pd.Series(odd, index=frame.index, dtype=object)
    elif kind == "gaps" and "query_vec" in case.vectors and "query_vec" not in case.bad:
        once = [i for i in range(n) if list(qi[:i]).count(qi[i])]
        same = [i for i in once if np.array_equal(case.vectors["query_vec"][i], case.vectors["query_vec"][list(qi).index(qi[i])])]
        all_same = [i for i in same if all(np.array_equal(case.vectors["query_vec"][i], case.vectors["query_vec"][j])
                                           for j in range(n) if qi[j] == qi[i])]  # fmt: skip
        if all_same:
            cells = frame["query_vec"].astype(object).tolist()
            for i in all_same:
                cells[i] = src.pick(list(GAPS.values()))
            frame["query_vec"] = pd.Series(_objects(cells), index=frame.index)
            case.gaps = all_same
    elif kind == "copy on write":
        case.frame = frame.iloc[:]


HARMLESS = ("category", "Arrow", "str", "object", "Arrow vectors", "labels", "MultiIndex", "foreign columns", "order of columns",
            "twice a foreign column", "no score", "odd scores", "gaps", "copy on write")  # fmt: skip


def _harmful(src: Source, rng, case: Case, columns: list[str]) -> None:
    """Something that leaves no right answer to a stage that reads the column."""
    column = src.pick(columns)
    frame, n = case.frame, len(case)
    kind = src.pick(["a cell", "a cell", "a cell", "a cell", "missing", "twice", "all shorter"])
    if kind == "missing":
        case.frame, case.bad[column] = frame.drop(columns=column), "missing"
        case.vectors.pop(column, None) if column.startswith("doc_vec_") else None
        if column.startswith("doc_vec_"):
            del case.bad[column]  # the frame says which views there are
        return
    if kind == "twice":
        other = frame[column].iloc[::-1].set_axis(frame.index)  # of its own type: strings of pandas hold no half characters
        case.frame, case.bad[column] = pd.concat([frame, other], axis=1), "twice"
        return
    if not n:
        return
    cells, row = frame[column].astype(object).tolist(), int(rng.integers(n))
    if column in case.vectors:
        vector = np.resize(case.vectors[column][row], DIM).astype(np.float32)
        vector = vector if np.any(vector) else np.ones(DIM, np.float32)
        if kind == "all shorter":
            cells, what = [np.ones(DIM - 3, np.float32)] * n, "of another dimension"
            case.gaps = [] if column == "query_vec" else case.gaps
        else:
            what = src.pick([*NO_VECTORS, *GAPS])
            cells[row] = NO_VECTORS[what](vector) if what in NO_VECTORS else GAPS[what]
            if what in GAPS:
                if column == "query_vec":
                    alone = [i for i in range(n) if case.qids[i] == case.qids[row]]
                    for i in alone:
                        cells[i] = GAPS[what]
            elif row in case.gaps:
                case.gaps.remove(row)
        case.bad[column] = what
    elif column in ("qid", "docno"):
        what = src.pick(["missing", "a list", "a dict"])
        cells[row] = {"missing": src.pick(list(GAPS.values())), "a list": [1], "a dict": {}}[what]
        case.odd.add(column)
        if column == "qid" and what == "missing":
            others = [i for i in range(n) if i not in case.gaps and i != row]
            if any(i == row or case.qids[i] not in [case.qids[j] for j in others] for i in case.gaps):
                case.bad["query_vec"] = "a gap that no row of its query fills"
        elif column == "qid":
            case.bad[column] = what
    else:
        what = src.pick(["missing", "a number", "bytes", "a list"])
        value = {"missing": src.pick(list(GAPS.values())), "a number": 42, "bytes": b"tea", "a list": ["tea"]}[what]
        rows = [i for i in range(n) if column != "query" or case.qids[i] == case.qids[row]]
        for i in rows:
            cells[i] = value
        case.bad[column] = what
    dtype = object if column in ("query", "text") else None  # which may have half characters
    frame[column] = pd.Series(_objects(cells), index=frame.index, dtype=dtype)
