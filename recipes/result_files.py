"""Result files: what was asked, where and when, and the rows; one JSON file for each question and collection."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pyterrier_xetrieval import Xetrieval, __version__
from pyterrier_xetrieval.store.files import replacing


def known(path: Path, key: Mapping) -> bool:
    """Whether a file holds the answer to the same question under the same conditions."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["key"] == json.loads(json.dumps(key))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def write_result(path: Path, key: Mapping, facts: Mapping, table: pd.DataFrame, **tables: pd.DataFrame) -> None:
    """One file: what was asked (``key``), where and when (``facts``), the ``rows``; six digits, all or nothing.

    Further ``tables`` come before the rows under their names.
    """
    head = json.dumps({"key": key, "facts": facts}, indent=1, ensure_ascii=False).removesuffix("\n}")
    parts = [f' "{name}": [\n{_lines(own)}\n ]' for name, own in {**tables, "rows": table}.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(",\n".join([head, *parts]) + "\n}\n")


def _lines(table: pd.DataFrame) -> str:
    rows = [{c: v for c, v in ((c, _plain(v)) for c, v in row.items()) if v is not None} for row in table.to_dict("records")]
    return ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)


def _plain(value: Any) -> Any:
    """For JSON: None for what is missing, six digits of a float."""
    if isinstance(value, list | str):
        return value
    if pd.isna(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.6g}") if isinstance(value, float) else value


def machine() -> dict:
    """What numbers, and above all times, can depend on beside the options."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    packages = {name: version(name) for name in ("torch", "numpy", "pyterrier")}
    packages = {"python": platform.python_version(), "pyterrier_xetrieval": __version__, **packages}
    return {"versions": packages, "cpu": cpu, "threads": torch.get_num_threads()}


def measured_facts(command: str, seconds: float) -> dict:
    """Where, when and how long something was measured, and the command that repeats it."""
    return {**machine(), "date": datetime.now(UTC).date().isoformat(), "seconds": round(seconds, 1), "command": command}


def weights_of(model: Xetrieval) -> dict:
    """Names and sha256 sums of a model's weights, from its metadata; of an encoder's folder, its own name alone."""
    name = model.meta["encoder"]["name"]
    return {
        "encoder": Path(name).name if Path(name).is_absolute() else name,
        "view_weights": model.meta["weights"],
        **model.meta["sha256"],
    }
