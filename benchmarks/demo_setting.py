"""What the benchmarks over the Python documentation share: their options, one setting of threads, and the demo's vectors."""

from __future__ import annotations

import argparse
from pathlib import Path

import pyterrier as pt
import torch
from threadpoolctl import threadpool_limits

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.cli.demo_job import Demo


def demo_setting(description: str, *, repeat: int) -> tuple[argparse.Namespace, Xetrieval, Demo]:
    """Reads ``--repeat`` and ``--threads``, and opens the bundled model and the demo's index (embedded once, then kept)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=repeat)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)  # numpy's own, for the whole run
    model = Xetrieval.default()
    return args, model, Demo(pydocs(), model, Path(pt.io.pyterrier_home()) / "xetrieval")
