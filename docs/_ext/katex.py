"""Render formulas with the KaTeX in ``_static/katex``, so that no page needs the network.

The files are those of the npm package ``katex`` (MIT license): ``dist/katex.min.js``, ``dist/fonts/*.woff2``, and
``dist/katex.min.css`` without its ``.woff`` and ``.ttf`` sources. To update KaTeX, replace them by newer ones.
"""

from typing import Any

from docutils import nodes


def visit_math(self: Any, node: nodes.math) -> None:
    """Write an inline formula as text that ``math.js`` renders."""
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(self.encode(node.astext()) + "</span>")
    raise nodes.SkipNode


def visit_displaymath(self: Any, node: nodes.math_block) -> None:
    """Write a displayed formula as text that ``math.js`` renders; lines that end in two backslashes are aligned."""
    formula = node.astext().strip()
    if "\\\\" in formula or "&" in formula:
        formula = rf"\begin{{aligned}}{formula}\end{{aligned}}"
    self.body.append(self.starttag(node, "div", "", CLASS="math notranslate nohighlight"))
    self.body.append(self.encode(formula) + "</div>\n")
    raise nodes.SkipNode


def add_katex(app: Any, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load KaTeX on the pages that have formulas."""
    if doctree is not None and any(doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block))):
        app.add_css_file("katex/katex.min.css")
        app.add_js_file("katex/katex.min.js", loading_method="defer")
        app.add_js_file("math.js", loading_method="defer")


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("katex", (visit_math, None), (visit_displaymath, None))
    app.config.html_math_renderer = "katex"
    app.connect("html-page-context", add_katex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
