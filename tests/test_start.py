"""What a fresh interpreter has loaded: the package, its stages and the help of the command start at once."""

import subprocess
import sys
from importlib import import_module

import pytest

from pyterrier_xetrieval.cli import VERBS

HEAVY = {"transformers", "sentence_transformers", "pyterrier_dr", "sklearn", "scipy", "matplotlib", "ray"}
STAGES = "SAEExplainer, MultiViewScorer, ReasoningInternalizer, FeatureIntervention, Xetrieval"


def loaded_after(code: str) -> set[str]:
    """The modules in a fresh interpreter that ran this code, by their first names."""
    code += "\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_the_package_loads_nothing():
    loaded = loaded_after("import pyterrier_xetrieval")
    assert "pyterrier_xetrieval" in loaded and not loaded & {*HEAVY, "torch", "pandas", "numpy", "pyterrier"}


def test_stages_and_the_model_load_torch_and_pyterrier_alone():
    loaded = loaded_after(f"from pyterrier_xetrieval import {STAGES}\nXetrieval.default().explainer()")
    assert {"torch", "pyterrier"} <= loaded and not loaded & HEAVY


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_loads_click_alone(verb):
    arguments = [verb, "--help"] if verb else ["--help"]
    loaded = loaded_after(f"from pyterrier_xetrieval.cli import main\nmain({arguments}, standalone_mode=False)")
    assert "click" in loaded and not loaded & {*HEAVY, "torch", "pandas", "numpy", "pyterrier"}


@pytest.mark.parametrize(
    "package", ["", ".checkpoints", ".datasets", ".evaluation", ".index", ".labelling", ".llm", ".training", ".viz"]
)
def test_every_public_name_is_there(package):
    module = import_module(f"pyterrier_xetrieval{package}")
    assert dir(module) == sorted(module.__all__) and all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        import_module(module.__name__).__getattr__("nothing")


def test_a_public_name_is_not_that_of_its_module(tmp_path, monkeypatch):
    lines = ("if TYPE_CHECKING:", "    from .sae import sae", "from pyterrier_xetrieval._lazy import attach", "attach(__name__)")
    (tmp_path / "clashing").mkdir()
    (tmp_path / "clashing" / "__init__.py").write_text("\n".join(["TYPE_CHECKING = False", *lines]))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"found \['sae'\] in clashing"):
        import_module("clashing")
