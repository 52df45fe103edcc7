"""The page's templates, in which every text is escaped and made visible, and data for its scripts."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import plotly.io
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from streamgauge.harness.judge.wording import visible
from streamgauge.reports.panel import Figure
from streamgauge.reports.terms import explained

# `<` could end a script element; U+2028 and U+2029 are valid in JSON strings, but ended lines in older JavaScript.
_INERT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def up_to_end(name: str) -> str:
    """A pattern for the rest of an element, with its end tag; `name` may be a reference to a group, such as `\\1`.

    It goes from one `<` to the next: several times as fast as `.*?`, which looks at each character of plotly.js.
    """
    return rf"[^<]*(?:<(?!/{name}>)[^<]*)*</{name}>"


# A number or range with its unit, and an option. Skipped are tags, what shows no text, and cells that never break.
_WHOLE = re.compile(
    r"<(style|script|svg|select|title)\b" + up_to_end(r"\1")
    + r"|<(t[dh])[^>]* class=\"n\"" + up_to_end(r"\2")
    + r"|<[^>]*>|(?P<whole>(?<![\w.,#])-?\d[\d.,]{0,20}(?:\u2013-?\d[\d.,]{0,20})?"
    r" (?:%|\u00b5s|ms|s|min|h|B|[kMG]B|[KMG]iB)(?![\w/-])"
    r"|(?<![\w/-])--[a-z][\w-]{1,30})"
)  # fmt: skip
_BEYOND = re.compile(r"[^\x00-\x7f]")  # of the Basic Multilingual Plane


def template(name: str) -> Template:
    return _environment().get_template(name)


def inert_json(value: Mapping[str, object]) -> Markup:
    """JSON for a script element of data."""
    return Markup(json.dumps(value, separators=(",", ":")).translate(_INERT))  # noqa: S704 - _INERT escapes what could end the element


def finished(page: str) -> str:
    """A rendered page as it is saved or served."""
    return ascii_page(unbroken(page))


def unbroken(page: str) -> str:
    """The same page with no line that ends between a number and its unit, or inside an option.

    A no-break space or hyphen would do it, too, but whoever copies `--processes 4` has to get what they see.
    """
    return _WHOLE.sub(
        lambda found: f'<span class="whole">{found["whole"]}</span>' if found["whole"] else found[0], page
    )


def ascii_script(script: str) -> str:
    """The same script in ASCII; it may have other characters in its texts, patterns and comments."""
    return _BEYOND.sub(lambda found: f"\\u{ord(found[0]):04x}", script)


def ascii_page(page: str) -> str:
    """The same page in ASCII, which a browser decodes faster than it would UTF-8: 15 ms before it shows anything.

    Its styles, scripts and their data must be in ASCII already: there, a character reference means nothing.
    """
    return page.encode("ascii", "xmlcharrefreplace").decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inert"] = _inert
    environment.filters["explained"] = _explained
    return environment


@pass_context
def _explained(context: Context, text: str) -> Markup:
    return explained(visible(text), context["explained_terms"])


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _inert(figure: Figure) -> Markup:
    parts = {"data": [trace.to_plotly_json() for trace in figure.data], "layout": figure.layout.to_plotly_json()}
    return Markup(plotly.io.to_json(parts, validate=False).translate(_INERT))  # noqa: S704 - _INERT escapes what could end the element
