#!/bin/bash
# pyarrow reads far dates in Parquet's INT96 timestamps as near ones, without a word.
#
# One would guess: 9999-12-31 and 2608-01-01, which Spark, Hive and Impala write as INT96 for "still open", raise an error or come back
#   as they are: a cast to nanoseconds of the same dates in a timestamp[us] column raises ArrowInvalid.
# What happens: INT96 is read as nanoseconds, 64 bits overflow, and 2608-01-01 is 2023-06-12: a plausible date, and a wrong one.
# Instead: pq.read_table(path, coerce_int96_timestamp_unit="us"), likewise pq.ParquetFile.
# Seen with: pyarrow 25.0.1, pyarrow.parquet.read_table
#   https://arrow.apache.org/docs/python/generated/pyarrow.parquet.read_table.html
# Exit 0: it still is so. Exit 1: the behaviour changed. Exit 2: it could not be tried.
set -u
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" install -q --disable-pip-version-check pyarrow==25.0.1 || exit 2
cd "$folder" && "$folder/venv/bin/python" - <<'EOF'
import sys
from datetime import datetime

import pyarrow as pa
from pyarrow import parquet as pq

dates = [datetime(9999, 12, 31), datetime(2608, 1, 1), datetime(2023, 1, 1)]
table = pa.table({"until": pa.array(dates, pa.timestamp("us"))})
pq.write_table(table, "spark.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
plain = pq.read_table("spark.parquet")["until"].cast(pa.date32()).cast(pa.string()).to_pylist()
coerced = pq.read_table("spark.parquet", coerce_int96_timestamp_unit="us")["until"].to_pylist()
print(f"pyarrow {pa.__version__}: {[f'{date:%Y-%m-%d}' for date in dates]} are read as {plain}; coerced to us: {coerced == dates}")
sys.exit(0 if plain == ["1816-03-29", "2023-06-12", "2023-01-01"] and coerced == dates else 1)
EOF
