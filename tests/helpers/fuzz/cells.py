"""Vectors as the cells of frames: every type that holds numbers, and what holds none."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import torch


def _read_only(v: np.ndarray) -> np.ndarray:
    v = v.copy()
    v.setflags(write=False)
    return v


# what a stage has to read as numbers
VECTORS = {
    "float32": lambda v: v.copy(),
    "float64": lambda v: v.astype(np.float64),
    "float16": lambda v: v.astype(np.float16),
    "long double": lambda v: v.astype(np.longdouble),
    "list": lambda v: v.tolist(),
    "tuple": lambda v: tuple(v.tolist()),
    "list of numpy's": lambda v: list(v),
    "torch": lambda v: torch.tensor(v),
    "torch float64": lambda v: torch.tensor(v, dtype=torch.float64),
    "torch bfloat16": lambda v: torch.tensor(v).bfloat16(),
    "torch with gradient": lambda v: torch.tensor(v, requires_grad=True),
    "int8": lambda v: np.clip(np.round(v * 60), -127, 127).astype(np.int8),
    "uint8": lambda v: np.clip(np.round(np.abs(v) * 60), 0, 255).astype(np.uint8),
    "int64": lambda v: np.round(v * 1000).astype(np.int64),
    "read-only": _read_only,
    "strided": lambda v: np.repeat(v, 2)[::2],
    "big-endian": lambda v: v.astype(">f4"),
    "Series": lambda v: pd.Series(v),
    "long": lambda v: v * np.float32(1e4),
    "short": lambda v: v * np.float32(1e-4),
    "zero": lambda v: v * 0,
}


def read(cell: object) -> np.ndarray:
    """The numbers of a cell, float32, as the oracle takes them."""
    if isinstance(cell, torch.Tensor):
        return cell.detach().float().numpy()
    return np.asarray(cell).astype(np.float32)


def _with(v: np.ndarray, value: float) -> np.ndarray:
    out = v.copy()
    out[len(out) // 2] = value
    return out


# what a stage has to refuse
NO_VECTORS = {
    "NaN inside": lambda v: _with(v, np.nan),
    "infinity inside": lambda v: _with(v, np.inf),
    "minus infinity": lambda v: _with(v, -np.inf),
    "beyond float32": lambda v: v.astype(np.float64) * 1e300,
    "squares beyond float32": lambda v: v / np.abs(v).max() * np.float32(1e25),
    "squares beyond float32, doubles": lambda v: v.astype(np.float64) / np.abs(v).max() * 1e37,
    "a number more": lambda v: np.append(v, np.float32(1)),
    "a number less": lambda v: v[:-1],
    "empty": lambda v: v[:0],
    "empty list": lambda v: [],
    "a matrix": lambda v: v[None],
    "a column": lambda v: v[:, None],
    "a scalar": lambda v: float(v[0]) + 1.5,
    "a 0-d array": lambda v: np.array(v[0]),
    "a text": lambda v: "vector",
    "its text": lambda v: str(v.tolist()),
    "bytes": lambda v: v.tobytes(),
    "texts": lambda v: [str(x) for x in v],
    "numbers and a text": lambda v: [*v.tolist()[:-1], "x"],
    "objects": lambda v: v.astype(object),
    "decimals": lambda v: [Decimal(str(x)) for x in v.tolist()],
    "truths": lambda v: v > 0,
    "complex": lambda v: v.astype(np.complex64),
    "dates": lambda v: v.astype(np.int64).astype("datetime64[s]"),
    "a dict": lambda v: dict(enumerate(v.tolist())),
    "a set": lambda v: set(v.tolist()),
    "ragged": lambda v: [v.tolist(), v.tolist()[:-1]],
    "None among numbers": lambda v: [*v.tolist()[:-1], None],
    "sparse": lambda v: torch.tensor(v).to_sparse(),
    "complex torch": lambda v: torch.tensor(v).to(torch.complex64),
    "True": lambda v: True,
    "an object": lambda v: object(),
    "a type": lambda v: np.ndarray,
    "a generator": lambda v: (x for x in v.tolist()),
}
GAPS = {"None": None, "NaN": float("nan"), "pd.NA": pd.NA, "np.float32 NaN": np.float32("nan")}
