"""Figures for papers and notebooks, which :mod:`pyterrier_xetrieval.viz` offers by name.

They need ``pip install "pyterrier-xetrieval[figures]"``, that is matplotlib, which is imported when the first one is drawn.
What differs in colour differs in marker, line style or hatch too, and everything is drawn as lines and text, so that a figure
stays sharp at any size.
"""
