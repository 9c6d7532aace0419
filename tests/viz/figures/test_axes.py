"""Files of figures, and what a fresh interpreter loads before one is drawn."""

import subprocess
import sys

import pytest

from pyterrier_xetrieval import viz
from tests.helpers.builders import make_model, result_frame


@pytest.fixture
def drawn():
    return make_model().explainer()(result_frame())["explanation"][0].plot()


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_files_are_the_same_for_the_same_figure(drawn, tmp_path, kind):
    first = viz.save_figure(drawn, tmp_path / "new" / f"one.{kind}").read_bytes()
    again = make_model().explainer()(result_frame())["explanation"][0].plot()
    assert viz.save_figure(again.figure, tmp_path / f"two.{kind}").read_bytes() == first
    assert not any(mark in first for mark in (b"<dc:date>", b"CreationDate", b"/Producer", b"Matplotlib v"))
    assert kind == "svg" or b"/Type3" not in first  # which publishers refuse


def test_what_cannot_be_saved(drawn, tmp_path):
    with pytest.raises(ValueError, match=r"\.svg or \.pdf, found 'one.jpg'"):
        viz.save_figure(drawn, tmp_path / "one.jpg")
    with pytest.raises(ValueError, match="found str"):
        viz.save_figure("waterfall", tmp_path / "one.pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", ["import pyterrier_xetrieval", "import pyterrier_xetrieval.viz",
                                  "from pyterrier_xetrieval.viz import *"])  # fmt: skip
def test_matplotlib_waits_for_the_first_figure(code):
    done = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; assert 'matplotlib' not in sys.modules"], check=False)
    assert done.returncode == 0
