"""Turn ``arXiv:1406.2661`` and ``doi:10.1145/3422622`` in any text into links."""

import re
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

PAPER = re.compile(
    r"(?P<arxiv>arXiv:(?P<id>\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}))|(?P<doi>doi:10\.\d{4,9}/\S+)"
)


def end_of_doi(text: str) -> int:
    """Return where a DOI ends: before punctuation that closes the sentence or a bracket around the DOI."""
    end = len(text)
    while end and (
        text[end - 1] in ".,;:!?'\"”’" or (text[end - 1] in ")]" and text.count(")", 0, end) > text.count("(", 0, end))
    ):
        end -= 1
    return end


def linked(text: str) -> list[nodes.Node]:
    """Split a text into plain text and links to papers."""
    parts: list[nodes.Node] = []
    start = 0
    for match in PAPER.finditer(text):
        if match["arxiv"]:
            shown, address = match["arxiv"], f"https://arxiv.org/abs/{match['id']}"
        else:
            shown = match["doi"][: end_of_doi(match["doi"])]
            address = "https://doi.org/" + shown.removeprefix("doi:")
        if match.start() > start:
            parts.append(nodes.Text(text[start : match.start()]))
        parts.append(nodes.reference("", shown, refuri=address, internal=False))
        start = match.start() + len(shown)
    if parts and start < len(text):
        parts.append(nodes.Text(text[start:]))
    return parts


class PaperLinks(SphinxTransform):
    """Replace the texts outside code, formulas and links."""

    default_priority = 750

    def apply(self, **kwargs: Any) -> None:
        """Walk over the texts of a page."""
        kept = (
            nodes.literal | nodes.literal_block | nodes.doctest_block | nodes.reference | nodes.math | nodes.math_block
        )
        for text in list(self.document.findall(nodes.Text)):
            ancestor: Any = text.parent
            while ancestor is not None and not isinstance(ancestor, kept):
                ancestor = ancestor.parent
            if ancestor is None and (parts := linked(text.astext())):
                text.parent.replace(text, parts)


def setup(app: Any) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(PaperLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
