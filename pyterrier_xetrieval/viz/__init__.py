"""Explanations for the eye: cards in a notebook, the explorer page, and figures (extra ``[figures]``)."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .cards import Cards, show
    from .explorer import explore, to_html
    from .figures.axes import save_figure
    from .figures.dictionaries import plot_label_scores, plot_reconstruction, plot_sparsity
    from .figures.explained import plot_latency, plot_score_shares, plot_stability
    from .figures.interventions import plot_counterfactual, plot_erasure, plot_faithfulness, plot_steering
    from .figures.page import plot_page
    from .figures.scores import plot_compare
    from .figures.words import plot_words

__getattr__, __dir__, __all__ = attach(__name__)
