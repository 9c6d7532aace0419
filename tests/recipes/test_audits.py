"""The tables of docs/audit.md, of an audit whose numbers are known."""

import pandas as pd

from pyterrier_xetrieval.evaluation import Audit
from recipes.audits import carriers, differences


def known() -> Audit:
    pairs = pd.DataFrame({"qid": list("abc"), "score_a": [0.2, 0.4, 0.6], "difference": [0.1, 0.2, 0.3]})
    parts = pd.DataFrame({
        "part": "shared feature", "feature": [7, 8], "label": ["tea", "milk"], "value": [0.15, 0.05], "low": 0.01, "high": 0.3,
        "p_holm": [0.01, 0.9], "pairs": [3, 2], "words": [("green | tea", "cup"), ()],
    })  # fmt: skip
    return Audit(pairs, parts)


def test_a_row_for_each_audit_and_for_each_feature_that_carries_a_difference():
    found = {("padding", "pairs"): known(), ("padding", "placebo"): known()}
    rows = differences(found).splitlines()
    # 0.1, 0.2, 0.3: standard error .1/√3, t(2) at .975 is 4.303
    assert rows[2] == "| padding |  | 3 | 0.400 | +0.2000 [-0.0484, +0.4484] | 3 / 0 / 0 | 1 of 2 |"
    assert rows[3].startswith("| padding | placebo |") and len({row.count("|") for row in rows}) == 1
    assert carriers(found).splitlines()[2:] == ["| padding | tea [7] | +0.1500 [+0.0100, +0.3000] | 3 | “green tea”, “cup” |"]
