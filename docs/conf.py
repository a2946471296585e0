"""Settings of the manual: `make docs` writes it to docs/_build/html; warnings are errors."""

import re

import dnas_mmseg  # registers everything, so that the API has it

project = 'dnas_mmseg'
author = 'The dnas_mmseg contributors'
copyright = author
release = dnas_mmseg.__version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
exclude_patterns = ['_build']
myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 3
autodoc_typehints = 'description'
autodoc_member_order = 'bysource'
napoleon_google_docstring = True
html_theme = 'furo'
html_title = f'dnas_mmseg {release}'
html_copy_source = False


def setup(app):
    """Turn links to pages of ``benchmarks/``, which are not part of the manual, into downloads."""
    app.connect('source-read', _link_benchmarks)


def _link_benchmarks(app, docname, source):
    source[0] = re.sub(r'\]\((\.\./benchmarks/[^)#]*)[^)]*\)', r'](path:\1)', source[0])
