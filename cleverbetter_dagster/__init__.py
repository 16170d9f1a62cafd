"""Trains, judges, promotes and keeps retraining the models that decide which betting strategies to run next."""

import os

from cleverbetter_dagster.proxies import call_directly

# Before any library with OpenMP is loaded. Its threads wait for each other by spinning; where two trainings share the
# cores, those that spin keep the others from the work that is waited for. By GNU's default two ensembles side by side
# take several times as long each as one after the other; with this, hardly longer (`bench_side_by_side` of the tests).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Also before any library that reads it. Child processes inherit it.
call_directly(os.environ)
