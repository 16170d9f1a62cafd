#!/bin/bash
# numpy compares datetime64 values of different units in the finer unit, and wraps around without a word.
#
# One would guess: 9999-12-31 is later than a day in 2027, whatever the units, or numpy raises OverflowError.
# What happens: microseconds are multiplied to nanoseconds, 9999-12-31 wraps around to 1816, and the answer is False.
# It is easy to get there: pandas' now() is in microseconds, but now() + Timedelta(days=366) is in nanoseconds, since a
# Timedelta made of keywords is. A rule "no date may be more than a year ahead" then accepts every date after 2262.
# pandas' own comparison of a Series with a Timestamp is right.
# Versions: numpy 2.4.6, pandas 2.3.3. Source: numpy's casting of datetime64 checks no overflow,
# https://numpy.org/doc/stable/reference/arrays.datetime.html#datetime-units
# Remedy: bring both sides to one unit first, as Timestamp.as_unit("us") does.
#
# Exit 0: it is as described; exit 1: it changed; exit 2: the packages could not be installed.
set -u
T=$(mktemp -d) || exit 2
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv" && "$T/venv/bin/pip" -q install numpy==2.4.6 pandas==2.3.3 || exit 2
"$T/venv/bin/python" - <<'PY'
import sys

import numpy as np
import pandas as pd

print("numpy", np.__version__, "pandas", pd.__version__)
end_dates = np.array(["9999-12-31", "2026-01-31"], "datetime64[us]")
now = pd.Timestamp("2026-06-01 12:00:00.000001")
latest = now + pd.Timedelta(days=366)
print("unit of now:", now.unit, "| unit of now + Timedelta(days=366):", latest.unit)
late = (end_dates > latest.to_datetime64()).tolist()
print("later than", latest, "by numpy:", late)
in_one_unit = (end_dates > latest.as_unit("us").to_datetime64()).tolist()
print("the same in one unit:          ", in_one_unit)
by_pandas = (pd.Series(end_dates) > latest).tolist()
print("the same by pandas:            ", by_pandas)
expected = (late, in_one_unit, by_pandas, latest.unit) == ([False, False], [True, False], [True, False], "ns")
print("as described" if expected else "CHANGED")
sys.exit(not expected)
PY
