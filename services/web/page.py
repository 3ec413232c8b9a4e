"""One HTML file with everything in it: it opens from disk and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files

import msgspec

from services.web.document import Document

LIBRARY = "lightweight-charts.standalone.production.js"
SCRIPTS = (LIBRARY, "format.js", "drawing.js", "chart.js", "page.js")

# The library's licence asks for this notice and the link on every page that shows its charts.
NOTICE = (
    "Charts: TradingView Lightweight Charts\u2122, Copyright \u00a9 2026 TradingView, Inc. "
    '<a href="https://www.tradingview.com/" rel="noreferrer">https://www.tradingview.com/</a>, '
    "Apache License 2.0"
)
SHORTCUTS = (
    ("n", "p", "next, previous trade"),
    ("\u2190", "\u2192", "move"),
    ("+", "\u2212", "zoom (chart in focus)"),
    ("0", "", "everything"),
    ("Esc", "", "no trade"),
)


def asset(name: str) -> str:
    """The text of a file that belongs to the pages."""
    return files("services.web").joinpath("assets", name).read_text(encoding="utf-8")


def page(document: Document) -> str:
    """The whole page. The browser is told to run these scripts alone and to load nothing."""
    scripts = "\n".join(asset(name) for name in SCRIPTS)
    # `</script` may not stand inside a script, not even in a string.
    scripts = scripts.replace("</script", "<\\/script")
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(scripts)}'; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(document.title)} \u00b7 {escape(document.subtitle)}</title>
<link rel="icon" href="data:,">
<style>{asset("page.css")}</style>
</head>
<body>
<header>
<h1>{escape(document.title)}<small>{escape(document.subtitle)}</small></h1>
{_said(document)}
<dl class="figures"></dl>
<ul class="warnings" aria-label="Warnings" hidden></ul>
</header>
<div class="bar"><span class="seen" aria-live="polite"></span></div>
<main>
<div class="chart" tabindex="0" role="application" aria-label="Chart. Arrows move, plus and minus \
zoom, n and p go to the next and the previous trade."></div>
<img class="printed" alt="The chart as it was seen">
<div class="tables"></div>
</main>
<footer><p class="shortcuts">{_shortcuts()}</p><p>{escape(document.credit)} {NOTICE}</p></footer>
<script type="application/json" id="document">{embedded(document)}</script>
<script>{scripts}</script>
</body>
</html>
"""


def embedded(document: Document) -> str:
    """The document as JSON that no HTML parser can take for markup."""
    text = msgspec.json.encode(document).decode()
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _said(document: Document) -> str:
    lines = "".join(f'<p class="said">{escape(text)}</p>' for text in document.said)
    if not document.verdict:
        return lines
    tone = escape(document.verdict_tone)
    return f'{lines}<p class="verdict {tone}" role="status">{escape(document.verdict)}</p>'


def _shortcuts() -> str:
    return " \u00b7 ".join(
        f"<kbd>{one}</kbd>{f' <kbd>{other}</kbd>' if other else ''} {meaning}"
        for one, other, meaning in SHORTCUTS
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
