"""Reports: each is one self-contained HTML file, rendered from a plain view. It fetches nothing."""

from cleverbetter_dagster.evaluation.report.render import render
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table

__all__ = ["Number", "Report", "Section", "Table", "render"]
