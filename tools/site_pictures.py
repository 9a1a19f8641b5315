"""
Puts drawn pictures into the documentation site, in place of the Mermaid text that other readers of Markdown draw.

A hook of MkDocs. Graphviz's pictures have the colours and the reactions that Mermaid has not, and need no script from
elsewhere in the reader's browser.
"""

from __future__ import annotations

import re
from typing import Any

from leadership.diagram import draw

PICTURE = re.compile(
    r"<!-- generated: mermaid (?P<kind>\w+)(?P<compact> compact)? -->\n.*?<!-- end generated -->", re.DOTALL
)
WIDE = "<!-- generated: table "
"""The mark of a machine's whole table, which needs the width of the page."""
SMALLEST = 0.75
"""The part of its natural size below which a picture is not shrunk."""


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """
    Replace each generated Mermaid block by an SVG.
    """
    if WIDE in markdown:  # here and not in the page itself, where other readers would see it
        page.meta["hide"] = ["toc"]
    return PICTURE.sub(_svg, markdown)


def _svg(match: re.Match[str]) -> str:
    picture = draw(match["kind"], "svg", compact=bool(match["compact"]))
    # Without blank lines, which would end the block of HTML.
    svg = re.sub(r"\n\s*\n", "\n", picture[picture.index("<svg") :]).strip()
    # As wide as the page, but never so small that it cannot be read: then it is scrolled (extra.css).
    size = re.compile(r'<svg width="(\d+)pt" height="\d+pt"')
    svg = size.sub(
        lambda found: f'<svg style="max-width: {found[1]}pt; min-width: {SMALLEST * int(found[1]):.0f}pt"', svg
    )
    return f'<div class="picture">\n{svg}\n</div>'
