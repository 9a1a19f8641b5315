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


def on_page_markdown(markdown: str, **_: Any) -> str:
    """
    Replace each generated Mermaid block by an SVG.
    """
    return PICTURE.sub(_svg, markdown)


def _svg(match: re.Match[str]) -> str:
    picture = draw(match["kind"], "svg", compact=bool(match["compact"]))
    # Without blank lines, which would end the block of HTML, and as wide as the page at the most.
    svg = re.sub(r'<svg width="\d+pt" height="\d+pt"', '<svg style="max-width: 100%; height: auto"', picture)
    return re.sub(r"\n\s*\n", "\n", svg[svg.index("<svg") :])
