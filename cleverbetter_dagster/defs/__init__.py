"""The Dagster room: partitions, assets, checks, resources and jobs. Thin: read, call a service, report."""

import warnings

import dagster as dg

# Single-run backfills and open-ended partition mappings are marked beta; pyproject.toml pins the tested releases.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
