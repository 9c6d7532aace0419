"""Cases for what reads texts: JSON lines, collections, judgements, labels, records of explanations, and their HTML."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from pyterrier_xetrieval import Explanation, FeatureLabels, beir_folder, explanation_frame, show
from pyterrier_xetrieval.checkpoints.pairs import read_pairs
from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.datasets.corpus_file import CorpusFile, Documents
from pyterrier_xetrieval.datasets.qrels_file import read_qrels
from pyterrier_xetrieval.labels import feature_ids
from pyterrier_xetrieval.llm.answer_file import AnswerFile
from pyterrier_xetrieval.store.jsonl import json_lines, records
from tests.helpers.builders import result_frame
from tests.helpers.damage import NOT_FACTS, changed, places
from tests.helpers.fuzz.frames import HOSTILE, TEXTS
from tests.helpers.fuzz.outcomes import SECRET, Source, judged
from tests.helpers.fuzz.world import WORLD

IDS = ["d1", "7", 7, 7.0, 7.5, "", " ", "é", "a\tb", True, "<b>"]
NO_IDS = [None, float("nan"), ["d1"], {"a": 1}, []]
NO_TEXTS = [None, float("nan"), 42, ["tea"], {"a": 1}, True, 1.5]
NO_LINES = [
    b"{",
    b"[1]",
    b"null",
    b'"x"',
    b"\xff\xfe{}",
    b"{} {}",
    b'{"_id": 1',
    b"\x80",
    b"NaN",
    b"3",
    b"[" * 3000,
    b'{"a": "\xc3"}',
]


def plain(value) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _written(src: Source, lines: list[bytes], name: str = "corpus.jsonl") -> Path:
    """The file, with line ends, a byte order mark, blank lines and compression of all sorts; or cut off."""
    end = src.pick([b"\n", b"\n", b"\r\n", b"\n\n", b"\n  \n"])
    data = (b"\xef\xbb\xbf" if src.chance(2) else b"") + end.join(lines) + (end if src.chance(7) else b"")
    path = WORLD.folder / name
    if src.chance(2):
        path = path.with_name(path.name + ".gz")
        data = gzip.compress(data, 1)
    path.write_bytes(data)
    return path


def _line(src: Source, row: dict) -> bytes:
    return json.dumps(row, ensure_ascii=src.chance(5)).encode("utf-8", "surrogatepass" if src.chance(0) else "replace")


def _documents(src: Source, key: str = "text") -> tuple[list[bytes], list[tuple[str, str]], str | None]:
    """Lines, the documents that they are, and what is wrong."""
    lines, expected, harm = [], [], None
    wrong = src.number(0, 9) if src.chance(5) else None
    for i in range(src.number(0, 4)):
        docno, text = src.pick(IDS), src.pick([*TEXTS[:-2], f"text {src.seed()}"])
        title = src.pick(["Cats", None, float("nan"), "", 7.0, "missing"])
        row = {src.pick(["_id", "docno"]): docno, key: text, "more": [1]}
        if title != "missing":
            row["title"] = title
        if i == wrong:
            harm = src.pick(["id", "no id", "text", "no text", "line"])
            if harm == "id":
                row = {name: src.pick(NO_IDS) if name in ("_id", "docno") else v for name, v in row.items()}
            elif harm == "no id":
                row = {key: text}
            elif harm == "text":
                row[key] = src.pick(NO_TEXTS)
            elif harm == "no text":
                del row[key]
            else:
                lines.append(src.pick(NO_LINES))
                continue
        line = _line(src, row)
        lines.append(line)
        if i != wrong:
            shown = "" if title in (None, "missing") or title != title else plain(title)
            body = text if b"\\ud800" in line else text.replace("\ud800", "?")
            expected.append((plain(docno), f"{shown} {body}".strip().replace("\ud800", "\ufffd")))
    return lines, expected, harm


def corpus_file(src: Source) -> bool:
    lines, expected, harm = _documents(src)
    drop = src.chance(3)
    path = _written(src, lines)
    harm = None if drop and harm in ("text", "no text") else harm

    def compare(found):
        assert [(d["docno"], d["text"]) for d in found] == expected

    return judged(
        lambda: list(CorpusFile(path, missing="drop" if drop else "error")), compare, harm=harm, names=[str(path), "CorpusFile"]
    )


def stored_documents(src: Source) -> bool:
    """A corpus as a frame or dicts, copied to the disk and read by row."""
    rng = np.random.default_rng(src.seed())
    names = src.pick([["a", "b", "c"], [1, 2, 3], [1.0, 2.0, 3.5], ["<b>", "é", " "]])
    documents = [{"docno": d, "text": src.pick([*TEXTS, f"t{rng.integers(10**9)}"])} for d in names]
    harm = None
    if src.chance(4):
        place = documents[int(rng.integers(3))]
        harm = src.pick(["docno", "text", "twice", "one", "no dict"])
        if harm in ("docno", "text"):
            place[harm] = src.pick(NO_IDS if harm == "docno" else NO_TEXTS)
        else:
            documents = {"twice": [*documents, documents[0]], "one": documents[:1], "no dict": [*documents, "x"]}[harm]
    given = pd.DataFrame(documents, dtype=object) if harm is None and src.chance(5) else documents
    path = WORLD.folder / f"documents{src.seed()}{len(list(WORLD.folder.iterdir()))}"

    def compare(found):
        assert [(d["docno"], d["text"]) for d in found] == [
            (plain(d["docno"]), d["text"].replace("\ud800", "\ufffd")) for d in documents
        ]

    return judged(lambda: Documents.store(given, path, stage="demo"), compare, harm=harm, names=["demo"])


def _beir(src: Source, what: str) -> bool:
    folder = WORLD.folder / "beir"
    folder.mkdir(exist_ok=True)
    for old in folder.rglob("*.*"):
        old.unlink()
    if what == "corpus":
        lines, expected, harm = _documents(src)
        _written(src, lines, "beir/corpus.jsonl")
        return judged(lambda: list(beir_folder(folder).get_corpus_iter()), lambda found: _same(
            [(d["docno"], d["text"]) for d in found], expected), harm=harm, names=["corpus.jsonl", "beir_folder"])  # fmt: skip
    lines, expected, harm, excluded = [], [], None, []
    for _ in range(src.number(0, 3)):
        qid, text, ids = src.pick(IDS), src.pick(TEXTS), src.pick([None, [], ["d1"], ["N/A"], ["d1", 7], [7.0]])
        row = {"_id": qid, "text": text}
        where = src.pick(["there", "metadata", "no"])
        if where == "there":
            row["excluded_ids"] = ids
        elif where == "metadata":
            row["metadata"] = {"excluded_ids": ids}
        if src.chance(1):
            harm = src.pick(["id", "text", "line", "excluded"])
            if harm == "excluded":
                row["excluded_ids"] = src.pick(["d1", 7, {"a": 1}, [None], [["d1"]]])
                row["metadata"] = src.pick(["x", [], None])
            else:
                row |= {"id": {"_id": None}, "text": {"text": src.pick(NO_TEXTS)}, "line": {}}[harm]
        lines.append(src.pick(NO_LINES) if harm == "line" else _line(src, row))
        shown = text if b"\\ud800" in lines[-1] else text.replace("\ud800", "?")
        expected.append((plain(qid), shown.replace("\ud800", "\ufffd")))
        excluded += [(plain(qid), plain(d)) for d in (ids or []) if d != "N/A" and where != "no"]
        if harm:
            break
    _written(src, lines, "beir/queries.jsonl")
    dataset = beir_folder(folder)
    if what == "topics":
        return judged(dataset.get_topics, lambda f: _same(list(f.itertuples(index=False, name=None)), expected),
                      harm=harm if harm != "excluded" else None, names=["queries.jsonl", "beir_folder"])  # fmt: skip
    return judged(dataset.get_excluded, lambda f: _same(sorted(f.itertuples(index=False, name=None)), sorted(set(excluded) if len(f) < len(excluded) else excluded)),
                  harm=harm, names=["queries.jsonl", "beir_folder"])  # fmt: skip


def _same(found, expected) -> None:
    assert list(found) == list(expected), f"found {str(found)[:150]}, expected {str(expected)[:150]}"


def qrels(src: Source) -> bool:
    """BEIR's table, the same without a header, and TREC's; and lines of none of these."""
    form, tab = src.pick(["header", "bare", "TREC"]), src.chance(6)
    separator = "\t" if tab or form == "header" else " "
    lines, expected, harm = (["query-id\tcorpus-id\tscore"] if form == "header" else []), [], None
    for _ in range(src.number(0, 4)):
        qid, docno = src.pick(["q1", "7", "é", "q<b>"]), src.pick(["d1", "x.y"] if form == "TREC" else ["d1", "007", "x.y"])
        label = src.pick(["1", "0", "2", "-1", "1.0", "+3", "1e1"])
        cells = [qid, docno, label] if form != "TREC" else [qid, src.pick(["0", "Q0", "1"]), docno, label]
        if src.chance(1):
            harm = src.pick(["label", "columns", "more columns"])
            if harm == "label":
                cells[-1] = src.pick(["x", "y", "1.5", "nan", "inf", "1e400", "0x1", "--1"])
            else:
                cells = cells[:-1] if harm == "columns" else [*cells, "1", "2"]
        lines.append(separator.join(cells))
        expected.append((qid, docno, int(float(label))))
        if harm:
            break
    empty = not lines
    path = WORLD.folder / "qrels.tsv"
    data = (b"\xef\xbb\xbf" if src.chance(2) else b"") + src.pick(["\n", "\r\n", "\n\n"]).join(lines).encode()
    if src.chance(1):
        data, harm = src.pick([b"\xff\xfe", b"\0\0\0", b"", b"a b\n", b"{}", b"q1 0 d1 99999999999999999999999\n"]), "no text"
    path.write_bytes(data)
    return judged(lambda: read_qrels(path), lambda f: _same(list(f.itertuples(index=False, name=None)), expected),
                  harm=harm or ("empty" if empty else None), names=[str(path)])  # fmt: skip


def json_records(src: Source) -> bool:
    """Somebody's JSON lines; or our own, whose last line may be torn."""
    rows = [{"a": src.pick([1, None, "x", [1], TEXTS[6]]), "n": src.seed()} for _ in range(src.number(0, 4))]
    lines, own, bad = [json.dumps(row).encode() for row in rows], src.chance(5), src.number(0, 4) if src.chance(4) else None
    harm = None
    if bad is not None and bad < len(lines):
        lines[bad] = src.pick(NO_LINES)
        harm = "a line" if not own or bad < len(lines) - 1 else None
        rows = rows[:bad] if harm is None else rows
    path = WORLD.folder / "own.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if src.chance(5) and lines else b""))
    how = src.pick(["json_lines", "AnswerFile"]) if own else "records"
    read = {
        "records": lambda: [row for _, row in records(path)],
        "json_lines": lambda: [row for _, row in json_lines(path)],
        "AnswerFile": lambda: list(AnswerFile(path, ("n",), lambda row: {}, "asked", "samples").rows()),
    }[how]
    repaired = json.loads(json.dumps(rows).replace("\\ud800", "\\ufffd")) if how == "records" else rows
    return judged(read, lambda found: _same(found, repaired), harm=harm, names=[str(path)])


def pairs(src: Source) -> bool:
    rows, harm = [], None
    for _ in range(src.number(0, 3)):
        row = {"query": src.pick(TEXTS[:5]), "doc": f"text {src.seed()}", "query_id": src.pick([1, None, "x"])}
        if src.chance(1):
            harm, row["doc"] = "no text", src.pick(NO_TEXTS)
        rows.append(row)
    more = [src.pick(NO_LINES)] if src.chance(1) else []
    path = _written(src, [json.dumps(row).encode() for row in rows] + more, "pairs.jsonl")
    harm = harm or ("a line" if more else None)
    return judged(lambda: list(read_pairs(path)), lambda found: _same(found, rows), harm=harm, names=[str(path)])


def labels(src: Source) -> bool:
    """A table of labels, as it is written, edited, or something else."""
    n, rng = src.number(0, 6), np.random.default_rng(src.seed())
    ids = rng.permutation(48)[:n].tolist()
    names = [
        re.sub(
            r"\s+",
            " ",
            src.pick([*HOSTILE, "", "a, b", "é", SECRET, '"q"', "NA", "1.5", "nan"]).replace("\ud800", "").replace("\0", ""),
        )
        for _ in ids
    ]
    lines, harm = (
        ["feature\tlabel\tmethod\tclarity"] + [f"{j}\t{name}\ttest\t{src.pick(['', '2', '0.5'])}" for j, name in zip(ids, names)],
        None,
    )
    if src.chance(4):
        harm = src.pick(["header", "twice", "outside", "negative", "text id", "gap", "fraction", "bytes", "columns"])
        extra = {"twice": f"{ids[0] if ids else 48}\tx\tt\t", "outside": "48\tx\tt\t", "negative": "-1\tx\tt\t", "text id": "x\tx\tt\t",
                 "gap": "\tx\tt\t", "fraction": "1.5\tx\tt\t", "columns": "1\tx\tt\t1\t2\t3"}  # fmt: skip
        if harm == "header":
            lines[0] = src.pick(["feature\tlabel", "", "a\tb\tc\td", "feature label method"])
        elif harm != "bytes":
            lines.append(extra[harm])
    path = WORLD.folder / "labels.tsv"
    path.write_bytes(
        src.pick([b"\xff\xfe\0", b"", b"\x1f\x8b\x08", b"PK\x03\x04"]) if harm == "bytes" else "\n".join(lines).encode()
    )

    def compare(found):
        for j, name in zip(ids, names):
            assert found.name(j) == name.strip(), f"{found.name(j)!r}, expected {name!r}"
        if src.seed() % 5:
            return
        found.write(path)
        again = FeatureLabels.read(path, 48)
        assert {j: again.name(j) for j in range(48)} == {j: found.name(j) for j in range(48)}

    return judged(lambda: FeatureLabels.read(path, 48), compare, harm=harm, names=[str(path)])


def hypotheses(src: Source) -> bool:
    texts = [src.pick(["", "sorting", "  x ", "é", HOSTILE[0], f"h {src.seed()}"]) for _ in range(src.pick([0, 1, 3, 48, 49]))]
    path = WORLD.folder / "hypotheses.txt"
    data = "\n".join(texts).encode() + (b"\n" if src.chance(5) and texts else b"")
    binary = src.chance(2)
    path.write_bytes(src.pick([b"\xff\xfe", b"\x80abc"]) if binary else data)
    told = data.decode().removesuffix("\n").split("\n")
    harm = "bytes" if binary else "too many" if len(told) > 48 else None

    def compare(found):
        assert [found.name(j) for j in range(len(told))] == [t.strip() for t in told]

    return judged(lambda: FeatureLabels.read_hypotheses(path, 48), compare, harm=harm, names=[str(path)])


def chosen(src: Source) -> bool:
    """Ids or words of labels that somebody chose."""
    ids = [src.seed() % 48 for _ in range(src.number(0, 4))]
    kind = src.pick(
        [
            "list",
            "array",
            "tuple",
            "generator",
            "uint8",
            "frame",
            "set",
            "mixed",
            "outside",
            "nested",
            "text",
            "float",
            "None",
            "huge",
            "bytes",
        ]
    )
    given = {
        "list": ids, "array": np.array(ids, np.int64), "tuple": tuple(ids), "generator": iter(ids), "uint8": np.array(ids, np.uint8),
        "frame": pd.DataFrame({"feature": ids}), "set": set(ids), "mixed": [*ids, "7"], "outside": [*ids, 48], "nested": [[1], [2, 3]],
        "text": "zzzz", "float": [*ids, 1.5], "None": src.pick([None, [None]]), "huge": [10**25], "bytes": b"x",
    }[kind]  # fmt: skip
    harm = kind if kind in ("outside", "nested", "text", "float", "None", "huge") else None
    either = kind in ("bytes", "mixed") or (kind == "frame" and not ids)

    def compare(found):
        expected = list(dict.fromkeys(set(ids) if kind == "set" else ids))
        assert either or found.tolist() == expected

    return judged(lambda: feature_ids(given, WORLD.model.labels, stage="demo"), compare, harm=harm, either=either, names=["demo"])


def confidence(src: Source) -> bool:
    names = ["intercept", "activation", "clarity", "detection", "contribution", "support", "similarity"]
    values = {name: (src.seed() % 1000) / 100 for name in names}
    wrong = src.chance(5)
    if wrong:
        name = src.pick(names)
        values[name] = src.pick([None, "x", float("nan"), float("inf"), True, [1], -1.0 if name != "intercept" else "y"])
        if name != "similarity" and src.chance(3):  # earlier parameters have none
            values.pop(name)

    def compare(c):
        logit = values["intercept"] + values["activation"] * np.log(0.5) + values["clarity"] * 2 + values["detection"] * 0.9
        logit += values["contribution"] * 0.1 + values["support"] + values.get("similarity", 0) * 0.3
        np.testing.assert_allclose(c.of_text(0.5, 2, 0.9, 0.1, 1, 0.3), 1 / (1 + np.exp(-logit)), atol=1e-12)

    return judged(lambda: Confidence.from_dict(values), compare, harm="a parameter" if wrong else None, names=["Confidence"])


class _Page(HTMLParser):
    """Whether a page has tags or attributes that only a text could have brought."""

    def __init__(self):
        super().__init__()
        self.strange: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "img", "b", "iframe") and tag != "b" or any(name.startswith("on") for name, _ in attrs):
            self.strange.append(f"{tag} {attrs}")


def _explanations(src: Source) -> list[Explanation]:
    every = WORLD.__dict__.get("explained")
    if every is None:
        texts = [t for t in TEXTS if "\ud800" not in t and len(t) < 400]
        plain_ones = WORLD.model.explainer()(WORLD.model.internalizer()(result_frame(2, 3)))["explanation"].tolist()
        every = [*plain_ones, *WORLD.model.explain("sort <script>alert(1)</script>", texts=texts)]
        WORLD.explained = every
    return every


def records_of_explanations(src: Source) -> bool:
    """What to_dict made comes back; what somebody changed is refused, or is what it says."""
    e = src.pick(_explanations(src))
    record = json.loads(json.dumps(e.to_dict()))
    wrong = src.chance(5)
    place = ()
    if wrong:
        place = src.pick(list(places(record)))
        record = changed(record, place, src.pick([*NOT_FACTS, *HOSTILE[:3], 10**400]), delete=src.chance(3))

    def compare(found):
        text = found.to_text(), found.sentence(), str(found), repr(found), found.to_html(), found.to_json()
        assert all(isinstance(t, str) for t in text)
        page = _Page()
        page.feed(text[4])
        assert not page.strange, page.strange
        if not wrong:
            assert found == e and found.to_text() == e.to_text() and found.to_dict() == e.to_dict() and text[4] == e.to_html()
        numbers = [found.score, found.other, found.bias, found.residual, *found.contributions]
        assert np.isfinite(numbers).all()

    return judged(lambda: Explanation.from_dict(record), compare, harm=None, either=wrong, names=["Explanation.from_dict"])


def pages(src: Source) -> bool:
    """Cards, tables and texts of explanations with hostile labels, ids and words; and what is no explanation."""
    every = _explanations(src)
    rows = [src.pick(every) for _ in range(src.number(0, 4))]
    frame = pd.DataFrame({"qid": [e.qid for e in rows], "explanation": pd.Series(rows, dtype=object)})
    frame["query"] = pd.Series([src.pick(HOSTILE) for _ in rows], dtype=object)
    if src.chance(5):
        frame["rank"] = src.pick([range(len(rows)), None, "x", 1.5])
    harm = None
    if rows and src.chance(3):
        harm = "no explanation"
        frame.loc[len(rows) - 1, "explanation"] = src.pick([None, "x", 1.5])
    number = src.pick([1, 10, 0, -1, None, "x"]) if src.chance(3) else 10
    harm = harm or ("no number" if number not in (1, 10) else None)
    how = src.pick(["show", "explanation_frame"])

    def compare(found):
        if how == "show":
            html = found._repr_html_()
            page = _Page()
            page.feed(html)
            assert not page.strange, page.strange
        else:
            sums = found.groupby(["qid", "docno"])["contribution"].sum() if len(found) else []
            times = {(e.qid, e.docno): sum((x.qid, x.docno) == (e.qid, e.docno) for x in rows) for e in rows}
            if all(t == 1 for t in times.values()):
                for e in rows:
                    assert abs(sums[(e.qid, e.docno)] - e.score) < 1e-5, f"parts {sums[(e.qid, e.docno)]} of {e.score}"

    if how == "explanation_frame":
        harm = harm if harm == "no explanation" else None
    return judged(lambda: show(frame, num_results=number) if how == "show" else explanation_frame(frame), compare, harm=harm,
                  names=["show", "explanation_frame"])  # fmt: skip


ENTRIES = {
    "CorpusFile(path)": corpus_file,
    "Documents.store(corpus, folder)": stored_documents,
    "beir_folder(path).get_corpus_iter()": lambda src: _beir(src, "corpus"),
    "beir_folder(path).get_topics()": lambda src: _beir(src, "topics"),
    "beir_folder(path).get_excluded()": lambda src: _beir(src, "excluded"),
    "read_qrels(path)": qrels,
    "JSON lines": json_records,
    "read_pairs(path)": pairs,
    "FeatureLabels.read(path)": labels,
    "FeatureLabels.read_hypotheses(path)": hypotheses,
    "feature_ids(features)": chosen,
    "Confidence.from_dict(facts)": confidence,
    "Explanation.from_dict(record)": records_of_explanations,
    "show(results), explanation_frame(results)": pages,
}
