"""Result files as frames, and frames as Markdown and numbers in sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pyterrier_xetrieval.evaluation.significance import SIGNIFICANT

NDCG = "nDCG@10"
SAE = "sae.safetensors"
WITHOUT_DICTIONARY = ("cot", "sweep")  # questions that the model's own dictionary has no part in: an earlier one's stay
TRAINED_ON = ("liveqa_med", "msmarco_dl21")  # collections whose documents, or passages of them, the dictionary was trained on


@dataclass
class Results:
    """Result files in the order of their names, and their rows by question with a column ``collection``."""

    files: list[dict]
    frames: dict[str, pd.DataFrame]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Reads ``folder/*.json``.

        Raises:
            ValueError: none there, one that is no result file, or results of several models or seeds.
        """
        files = []
        for path in sorted(folder.glob("*.json")):
            try:
                file = json.loads(path.read_text(encoding="utf-8"))
                file["key"], file["facts"], file["rows"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path} is no result file: {error}") from None
            files.append(file)
        if not files:
            raise ValueError(f"render expects result files, found none in {folder}")
        whole = [file for file in files if file["key"]["question"] not in WITHOUT_DICTIONARY]
        if len({_made_by(file) for file in whole}) > 1 or len({_made_by(file, SAE) for file in files}) > 1:
            raise ValueError(f"render expects results of one model and seed, found several in {folder}")
        rows: dict[str, list] = {}
        for file in files:
            name = file["key"]["collection"]
            rows.setdefault(file["key"]["question"], []).extend({"collection": name, **row} for row in file["rows"])
        numbers = {"value": np.nan, "low": np.nan, "high": np.nan}
        frames = {question: pd.DataFrame([{**numbers, **row} for row in own]) for question, own in rows.items()}
        return cls(files, frames)

    def of(self, question: str) -> list[dict]:
        """The files of a question."""
        return [file for file in self.files if file["key"]["question"] == question]

    @staticmethod
    def count(n: int, of: int | None = None) -> str:
        """``3 of 17 collections``, ``1 collection``."""
        total = n if of is None else of
        return f"{n if of is None else f'{n} of {of}'} collection{'' if total == 1 else 's'}"


def _made_by(file: dict, but: str = "") -> str:
    """The seed and the files of the model, but for one of these, that a result was measured with."""
    model = {name: value for name, value in file["key"]["model"].items() if name != but}
    return json.dumps([model, file["key"]["seed"]], sort_keys=True)


def pick(frame: pd.DataFrame, index: str | list[str] = "collection", **conditions) -> pd.DataFrame:
    """The rows with these values, by ``index``: ``value``, ``low``, ``high``, ``n``."""
    for column, value in conditions.items():
        frame = frame[frame[column] == value] if column in frame else frame[:0]
    return frame.set_index(index)[[c for c in ("value", "low", "high", "n") if c in frame]]


def times(frame: pd.DataFrame, factor: float) -> pd.DataFrame:
    """Value and interval in another unit."""
    return frame.assign(**{c: factor * frame[c] for c in ("value", "low", "high")})


def above(frame: pd.DataFrame) -> int:
    """Rows whose interval lies above 0."""
    return int((frame["low"] > 0).sum())


def below(frame: pd.DataFrame) -> int:
    """Rows whose interval lies below 0."""
    return int((frame["high"] < 0).sum())


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] | None = (0,)) -> str:
    """A table; numbers to the right, the columns ``left`` (None: all) to the left."""
    lines = [header, ["---" if left is None or i in left else "---:" for i in range(len(header))], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def figure_link(name: str, caption: str) -> str:
    return f"![{caption}](figures/{name}.svg)"


def interval(row: Mapping, digits: int, factor: float = 1.0, *, signed: bool = False) -> str:
    """``-1.2 [-2.0, -0.5]``."""
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    text = form.format(factor * row["value"])
    return text if pd.isna(row["low"]) else f"{text} [{form.format(factor * row['low'])}, {form.format(factor * row['high'])}]"


def cell(frame: pd.DataFrame, name: str, digits: int, factor: float = 1.0, *, signed: bool = False) -> str:
    """:func:`interval` of the row of this name; nothing where there is none."""
    return interval(frame.loc[name], digits, factor, signed=signed) if name in frame.index else ""


def lines_of(frames: Mapping[str, pd.DataFrame], digits: int, factor: float = 1.0, *, signed: bool = False) -> list[list[str]]:
    """A line for each name in the first frame: the name, and its :func:`cell` of every frame."""
    names = next(iter(frames.values())).index
    return [[name, *(cell(frame, name, digits, factor, signed=signed) for frame in frames.values())] for name in names]


def significant(value: pd.Series, p: pd.Series) -> tuple[int, int]:
    """How many differences are significant: those above 0, and those below."""
    sure = p < SIGNIFICANT
    return int((sure & (value > 0)).sum()), int((sure & (value < 0)).sum())


def points(row: Mapping) -> str:
    """A difference of nDCG in points: ``+0.30 [-0.10, +0.70]``."""
    return interval(row, 2, 100, signed=True)


def percent(value: float, digits: int = 1) -> str:
    """Nothing for NaN."""
    return "" if pd.isna(value) else f"{100 * value:.{digits}f}"


def p_value(p: float) -> str:
    return "" if pd.isna(p) else "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0")


def spread(values: pd.Series, form: str) -> str:
    """``0.62 (0.51 to 0.70)``: the mean over collections, and their range."""
    low, mean, high = (form.format(v) for v in (values.min(), values.mean(), values.max()))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def unseen(values: pd.Series, form: str) -> str:
    """:func:`spread`, and the mean without collections of training text: ``0.62 (0.51 to 0.70; 0.61 without msmarco_dl21)``."""
    text, seen = spread(values, form), [name for name in TRAINED_ON if name in values.index]
    kept = values.drop(index=seen)
    return f"{text[:-1]}; {form.format(kept.mean())} without {' and '.join(seen)})" if seen and len(kept) else text
