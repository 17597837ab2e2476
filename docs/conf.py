"""Sphinx's configuration: the API pages are made from the docstrings, and nothing is fetched from the network."""

import re
from typing import Any

import ganlib

project = "ganlib"
author = "The ganlib developers"
release = version = ganlib.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"ganlib {release}"
html_copy_source = False

add_module_names = False
autodoc_default_options = {"members": True, "special-members": "__call__, __iter__, __len__"}
autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an attribute that is a property too would be described twice
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True


def skip_field(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples; their classes' docstrings say more than "alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def escape_stars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep the star of a shape such as (N, C, *spatial) a star: reStructuredText would begin emphasis there."""
    if lines[:1] == ["Call self as a function."]:  # Python's own words for a __call__ without a docstring
        lines.clear()
    lines[:] = [line if ">>>" in line else re.sub(r"(?<=[ (])\*(?=\w+\))", r"\\*", line) for line in lines]


def hide_protocol_arguments(app: Any, what: str, name: str, obj: Any, *signature: Any) -> tuple[str, str] | None:
    """Show protocols without the (*args, **kwargs) of a constructor that nobody calls."""
    return ("", "") if what == "class" and getattr(obj, "_is_protocol", False) else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", hide_protocol_arguments)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("autodoc-process-docstring", escape_stars, priority=400)  # before napoleon, at 500
