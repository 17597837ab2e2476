"""Let a copied session run in a plain Python prompt, which needs an empty line after a class, a function or a loop.

An example that runs such a statement before another one gets a line ``...`` between them, as Python itself shows it.
The copy button makes an empty line of it.
"""

import ast
import re
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

COMPOUND = (
    ast.AsyncFor | ast.AsyncFunctionDef | ast.AsyncWith | ast.ClassDef | ast.For | ast.FunctionDef | ast.If | ast.Match
    | ast.Try | ast.While | ast.With
)  # fmt: skip
STATEMENT = re.compile(r"^>>> .*(?:\n\.\.\.(?: .*)?)+(?=\n(?!\.\.\.)|\Z)", re.MULTILINE)


def end_statement(match: re.Match[str]) -> str:
    """Add the empty line to a statement of several lines, if it needs one."""
    lines = match[0].removesuffix("\n...").split("\n")
    try:
        (statement,) = ast.parse("\n".join(line[4:] for line in lines)).body
    except (SyntaxError, ValueError):
        return match[0]
    return "\n".join([*lines, "... "]) if isinstance(statement, COMPOUND) else match[0]


class Sessions(SphinxTransform):
    """Change the examples that begin with a prompt."""

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Walk over the blocks of a page."""
        for block in self.document.findall(lambda node: isinstance(node, nodes.literal_block | nodes.doctest_block)):
            if block.rawsource == block.astext() or isinstance(block, nodes.doctest_block):
                text = STATEMENT.sub(end_statement, block.astext())
                if text != block.astext():
                    block.rawsource = text
                    block[:] = [nodes.Text(text)]


def setup(app: Any) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(Sessions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
