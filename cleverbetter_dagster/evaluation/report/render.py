"""From a view to one HTML file. Everything a person or another service wrote is escaped; nothing is fetched."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from cleverbetter_dagster.evaluation.report.view import Number, Report


def render(report: Report) -> str:
    """The report as one self-contained HTML document."""
    return _environment().get_template("report.html.j2").render(report=report)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cleverbetter_dagster.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["figure"] = lambda cell: isinstance(cell, Number)
    return environment
