"""Judging models: metrics, intervals, the promotion gate, charts, reports. Knows no Dagster, MLflow or SQL."""

from cleverbetter_dagster.evaluation.evaluator import ModelEvaluator

__all__ = ["ModelEvaluator"]
