"""From a view to one HTML file. Everything a person or another service wrote is escaped; nothing is fetched."""

from itertools import count

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cleverbetter_dagster.evaluation.charts.chart import Chart, svg
from cleverbetter_dagster.evaluation.report.view import Link, Number, Report


def render(report: Report) -> str:
    """The report as one self-contained HTML document."""
    environment = Environment(
        loader=PackageLoader("cleverbetter_dagster.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = count(1)

    def inline_svg(chart: Chart) -> Markup:
        return svg(chart, f"chart{next(numbers)}")

    environment.tests["figure"] = lambda cell: isinstance(cell, Number)
    environment.tests["link"] = lambda cell: isinstance(cell, Link)
    environment.filters["code"] = _with_code
    environment.filters["svg"] = inline_svg
    return environment.get_template("report.html.j2").render(report=report)


def _with_code(text: str) -> Markup:
    """The text, escaped, with what stands in backticks as code.

    >>> str(_with_code("Run `a < b` & wait."))
    'Run <code>a &lt; b</code> &amp; wait.'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without its second
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )
