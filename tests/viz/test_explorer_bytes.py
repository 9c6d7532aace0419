"""The explorer page of the same results is the same file."""

from pyterrier_xetrieval.viz import to_html


def test_the_same_results_make_the_same_page(explained, tmp_path):
    first, second = (to_html(explained, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second and len(first) > 10_000
