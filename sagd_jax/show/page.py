"""A page of HTML that stands by itself: one file that loads nothing, in the reader's theme, light or dark."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from sagd_jax.show.charts import STYLE

_STYLE = (
    STYLE
    + """
body{margin:0 auto;max-width:1240px;padding:1.2rem;background:var(--ground);color:var(--words);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.8rem 0 .5rem;
border-bottom:1px solid var(--faint);padding-bottom:.2rem}
nav a{margin-right:1rem}a{color:var(--c0)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,370px),1fr));gap:.9rem}
.charts svg{background:var(--panel);border-radius:8px;width:100%}
.pictures{display:flex;flex-wrap:wrap;gap:.9rem}figure{margin:0}figcaption{font-size:.85rem}
img{image-rendering:pixelated;max-width:100%;border-radius:4px;display:block}
table{border-collapse:collapse;font-size:.9rem}td,th{padding:.18rem .7rem .18rem 0;text-align:left;
vertical-align:top;border-bottom:1px solid var(--faint)}.wide{overflow-x:auto}
pre{background:var(--panel);padding:.7rem;border-radius:8px;overflow-x:auto;font-size:.85rem}
.trouble{border-left:4px solid var(--c1);padding:.3rem .8rem;background:var(--panel)}
summary{cursor:pointer}
"""
).strip()


def page(title: str, sections: Iterable[tuple[str, str]], head: str = "") -> str:
    """A whole document.

    Args:
      title: words.
      sections: (heading, content as HTML); those without content are left out.
      head: HTML above them.
    """
    kept = [(name, content) for name, content in sections if content]
    links = " ".join(f'<a href="#{_anchor(name)}">{html.escape(name)}</a>' for name, _ in kept)
    body = "".join(
        f'<section id="{_anchor(name)}"><h2>{html.escape(name)}</h2>{content}</section>\n'
        for name, content in kept
    )
    # Nothing may be loaded from anywhere, whatever slips into the words.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>{head}<nav>{links}</nav>\n{body}</body></html>\n"
    )


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """A table of words."""
    if not rows:
        return ""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table>{f"<tr>{top}</tr>" if top else ""}{body}</table></div>'


def charts(found: Sequence[str]) -> str:
    """Charts side by side."""
    return f'<div class="charts">{"".join(found)}</div>' if found else ""


def pictures(found: Sequence[tuple[str, bytes]]) -> str:
    """PNG pictures side by side, each with words below it."""
    figures = "".join(
        f'<figure><img alt="{html.escape(words)}" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}"><figcaption>{html.escape(words)}</figcaption></figure>'
        for words, png in found
    )
    return f'<div class="pictures">{figures}</div>' if figures else ""


def trouble(lines: Sequence[str]) -> str:
    """What is missing or damaged, named."""
    return "".join(f'<p class="trouble">{html.escape(line)}</p>' for line in lines)


def code(text: str) -> str:
    """Text as it is."""
    return f"<pre>{html.escape(text)}</pre>"


def folded(words: str, content: str) -> str:
    """Content that opens at a click."""
    return f"<details><summary>{html.escape(words)}</summary>{content}</details>" if content else ""
