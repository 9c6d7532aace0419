"""The names of the package: the functions, whatever was imported first, and nothing loaded before it is used."""

import subprocess
import sys

import pytest

NAMES = (
    "reconstruction",
    "erasure",
    "latency",
    "stability",
    "steering",
    "retrieval",
    "counterfactual",
    "label_scores",
    "word_faithfulness",
)
LATE = {"scipy", "sklearn", "pyterrier_dr", "transformers", "matplotlib"}


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("first", ["", "import pyterrier_xetrieval.evaluation.questions"])
def test_a_name_is_the_function_whatever_was_imported_first(first):
    run(f"{first}\nfrom pyterrier_xetrieval import evaluation\nassert all(callable(getattr(evaluation, n)) for n in {NAMES})")


def test_slow_packages_wait_for_their_use():
    run(f"import sys, pyterrier_xetrieval.evaluation.questions\nfound = {LATE} & sys.modules.keys()\nassert not found, found")
