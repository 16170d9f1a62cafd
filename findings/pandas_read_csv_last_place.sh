#!/bin/bash
# pandas.read_csv does not read back the floats that PostgreSQL, or Python, wrote.
#
# One would guess: a double written with the fewest digits that tell it apart (PostgreSQL since version 12, Python's repr)
# comes back as the same double. pandas' documentation of `float_precision` calls the default "the ordinary converter".
# What happens: with the default, and with "high", about half of such numbers differ in the last place;
# pandas.to_numeric on the texts (dtype=str) gives the same wrong numbers. float_precision="round_trip", the pyarrow
# engine and Python's float() are exact. A model that compares with thresholds may answer otherwise on such rows.
#
# Tried with pandas 2.3.3 and pyarrow 21.0.0 from PyPI. Source: https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html
# Exit 0: as described; exit 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==2.3.3 pyarrow==21.0.0 numpy==2.3.3
"$folder/venv/bin/python" - <<'PYTHON'
import io
import random
import sys

import pandas as pd

random.seed(1)
written = [random.gauss(0, 1) / random.choice([1, 3, 7, 1e5]) for _ in range(100_000)]
text = "x\n" + "\n".join(map(repr, written))


def changed(read: list[float]) -> int:
    return sum(ours != theirs for ours, theirs in zip(written, read, strict=True))


ways = {
    "default": pd.read_csv(io.StringIO(text))["x"],
    "float_precision='high'": pd.read_csv(io.StringIO(text), float_precision="high")["x"],
    "dtype=str, then pandas.to_numeric": pd.to_numeric(pd.read_csv(io.StringIO(text), dtype=str)["x"]),
    "float_precision='round_trip'": pd.read_csv(io.StringIO(text), float_precision="round_trip")["x"],
    "engine='pyarrow'": pd.read_csv(io.BytesIO(text.encode()), engine="pyarrow")["x"],
    "dtype=str, then float()": pd.read_csv(io.StringIO(text), dtype=str)["x"].map(float),
}
counts = {way: changed(numbers.tolist()) for way, numbers in ways.items()}
print(f"pandas {pd.__version__}: of {len(written):,} floats are read back as another")
for way, count in counts.items():
    print(f"  {count:6,}  {way}")
inexact, exact = list(counts.values())[:3], list(counts.values())[3:]
sys.exit(0 if min(inexact) > 10_000 and max(exact) == 0 else 1)
PYTHON
