"""``python -m pyterrier_xetrieval.cli``: the command without its script."""

from . import main

main(prog_name="pyterrier-xetrieval")
