"""Every public stage, loader and reader over random cases: the right answer, or an error that says why there is none.

``python -m benchmarks.fuzz --cases 2000`` from the repository's root, one process; ``--out`` keeps the table as it grows.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path

import torch

from tests.helpers.fuzz.entries import ENTRIES, run
from tests.helpers.fuzz.world import WORLD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000, help="of each entry")
    parser.add_argument("--entry", default="", help="only those whose name contains this")
    parser.add_argument("--skip", default=[], nargs="*", help="entries that are left out, by their whole names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file of the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    gc.collect()
    gc.freeze()  # what is loaded by now stays, and is not looked through again and again
    _ = WORLD.encoder, WORLD.index, WORLD.deleted, WORLD.words, WORLD.flex  # made before the clock starts
    print(f"{'entry':44} {'cases':>6} {'valid':>6} {'failures':>8} {'ms':>6}", flush=True)
    for name, entry in ENTRIES.items():
        if options.entry not in name or name in options.skip:
            continue
        start = time.perf_counter()
        tally = run(entry, options.cases, name=name, number=options.seed)
        ms, failures = 1e3 * (time.perf_counter() - start) / max(tally.cases, 1), sum(tally.defects.values())
        print(f"{name:44} {tally.cases:6} {tally.valid / max(tally.cases, 1):6.0%} {failures:8} {ms:6.1f}", flush=True)
        for what, count in tally.defects.most_common(5):
            print(f"    {count} × {what} (first {tally.first[what]})", flush=True)
        for what, count in tally.unbuilt.most_common(5):
            print(f"    {count} × not built, by a fault of the harness: {what} (first {tally.first[what]})", flush=True)
        unbuilt = sum(tally.unbuilt.values())
        rows.append(
            {
                "entry": name,
                "cases": tally.cases,
                "valid": tally.valid,
                "refused": tally.refused,
                "failures": failures,
                "unbuilt": unbuilt,
            }
        )
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    cases, valid, failures, unbuilt = (sum(row[key] for row in rows) for key in ("cases", "valid", "failures", "unbuilt"))
    print(f"{'all ' + str(len(rows)):44} {cases:6} {valid / max(cases, 1):6.0%} {failures:8}")
    return 1 if failures or unbuilt else 0


if __name__ == "__main__":
    sys.exit(main())
