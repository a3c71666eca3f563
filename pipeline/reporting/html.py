"""HTML pages that are single files: no scripts, nothing loaded from elsewhere, figures inlined."""

import base64
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.reporting.figure_style import png


def render(template: str, **values: Any) -> str:
    """Render a template of the folder `templates` with these values, whose strings are escaped."""
    return _ENVIRONMENT.get_template(template).render(values)


def _code(text: str) -> Markup:
    """The escaped text, with `<code>` around what is between backticks."""
    parts = re.split(r"`([^`]+)`", text)  # every second part was between backticks
    return Markup().join(Markup("<code>{}</code>").format(part) if k % 2 else part for k, part in enumerate(parts))


def _data_url(figure: Figure) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(figure)).decode('ascii')}"


_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"code": _code, "data_url": _data_url}
