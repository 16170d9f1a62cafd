#!/bin/bash
# MLflow's page token of a search of runs is a number of runs, not a place: runs that are changed on the way hide others.
#
# One would guess: search_runs(filter, page_token=...) goes on behind the last run that was seen, so whoever closes the
# runs of each page before asking for the next one closes all runs that were RUNNING.
# What happens: the token holds an offset. Closed runs leave the result, the rest moves up, and the next page begins
# behind as many runs as were closed: about half of them are never seen and stay RUNNING for ever.
# Versions: mlflow 3.17.2 (SQLite). Source: mlflow/utils/search_utils.py, SearchUtils.create_page_token(offset);
# https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html#mlflow.client.MlflowClient.search_runs
# says only that the token should be taken from the last answer.
# Remedy: fetch all pages first, then change what was found.
#
# Exit 0: it is as described; exit 1: it changed; exit 2: the packages could not be installed.
set -u
T=$(mktemp -d) || exit 2
trap 'rm -rf "$T"' EXIT
cd "$T" || exit 2
python3 -m venv "$T/venv" && "$T/venv/bin/pip" -q install mlflow-skinny==3.17.2 sqlalchemy==2.0.51 alembic==1.18.5 pandas==2.3.3 || exit 2
"$T/venv/bin/python" - <<'PY'
import logging
import sys

import mlflow
from mlflow import MlflowClient

logging.disable(logging.INFO)
print("mlflow", mlflow.__version__)
client = MlflowClient("sqlite:///runs.db")
experiment = client.create_experiment("e")


def close_all(page_by_page):
    """How many of ten open runs are closed."""
    runs = [client.create_run(experiment) for _ in range(10)]
    token, waiting, closed = None, [], []
    while token != "":
        page = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=2, page_token=token)
        waiting += page
        token = page.token or ""
        if page_by_page:
            closed += [client.set_terminated(run.info.run_id) for run in waiting]
            waiting = []
    closed += [client.set_terminated(run.info.run_id) for run in waiting]
    for run in runs:
        client.set_terminated(run.info.run_id)
    return len(closed)


by_page, afterwards = close_all(True), close_all(False)
print("closed of 10, page by page:       ", by_page)
print("closed of 10, after the last page:", afterwards)
expected = (by_page, afterwards) == (6, 10)
print("as described" if expected else "CHANGED")
sys.exit(not expected)
PY
