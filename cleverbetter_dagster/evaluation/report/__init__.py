"""Reports: one self-contained HTML file each, made from a plain view of what is to be said. Fetches nothing."""

from cleverbetter_dagster.evaluation.report.render import render
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table

__all__ = ["Number", "Report", "Section", "Table", "render"]
