"""Sphinx, as `make docs` runs it: `site/` opens as files, with neither a server nor a network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "PES Atlas"
# `written` is beside this file: what is generated
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "written"]

myst_heading_anchors = 4
# docstrings are read by importing; these take seconds, and only their names are needed
autodoc_mock_imports = ["torch", "vesin"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # signatures have the types
add_module_names = False
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

highlight_language = "none"  # of blocks that name no language
smartquotes = False  # -- is an option, not a dash

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "default"
pygments_dark_style = "native"
