"""Settings with which Sphinx builds ``pyterrier_xetrieval/pt_docs``: ``make docs``. They do not ship.

The pages use no directive beyond Sphinx's own, autodoc and napoleon, so that PyTerrier's site can include them as they are.
"""

from pyterrier_xetrieval import __version__

project = "pyterrier_xetrieval"
author = "the authors of pyterrier_xetrieval"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"  # comes with Sphinx
html_theme_options = {"page_width": "1160px", "body_max_width": "none", "code_font_size": "0.8em"}
html_copy_source = False

autodoc_inherit_docstrings = False  # or each stage would explain pt.Transformer.transform
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 110
napoleon_numpy_docstring = False  # docstrings are in Google's form
napoleon_use_ivar = True  # several attributes may share a line
