"""Reports: each is one self-contained HTML file, rendered from a plain view. It fetches nothing."""

from cleverbetter_dagster.evaluation.report.render import render
from cleverbetter_dagster.evaluation.report.view import Link, Notice, Number, Report, Section, Table

__all__ = ["Link", "Notice", "Number", "Report", "Section", "Table", "render"]
