"""Pages: Markdown that says what data from outside say, and HTML that is made from it."""

from __future__ import annotations

import json
import re

import wavedrom
from markdown_it import MarkdownIt

from .rendering import rendered

__all__ = ["page", "plain"]


def page(title: str, text: str) -> str:
    """An HTML page of Markdown, with its WaveDrom diagrams as pictures; HTML in the text is shown as it stands."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    parts = []
    for index, part in enumerate(re.split(r"^```wavedrom\n(.*?)^```\n", text, flags=re.MULTILINE | re.DOTALL)):
        parts.append(f"<figure>{wavedrom.render(json.dumps(json.loads(part))).tostring()}</figure>" if index % 2 else
                     markdown.render(part))
    return rendered("spikeloom.gen", "templates/page.html.j2", {"title": title, "body": "\n".join(parts)})


def plain(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", text)
