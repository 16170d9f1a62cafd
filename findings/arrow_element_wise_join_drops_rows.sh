#!/bin/bash
# pyarrow's binary_join_element_wise(..., null_handling="skip") returns fewer rows than it is given.
#
# One would guess: an element-wise function has one result for each row; a row whose inputs are all null becomes "" or null.
# What happens: a row in which every input but the separator is null has no result at all. Three rows go in, two come out, and the
#   results of later rows stand at the places of earlier ones. Put beside other columns they would belong to the wrong rows.
# Instead: give each value a separator of its own, replace nulls by "" (fill_null), and join without "skip".
# Seen with: pyarrow 25.0.1, pyarrow.compute.binary_join_element_wise
#   https://arrow.apache.org/docs/python/generated/pyarrow.compute.binary_join_element_wise.html
# Exit 0: it still is so. Exit 1: the behaviour changed. Exit 2: it could not be tried.
set -u
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" install -q --disable-pip-version-check pyarrow==25.0.1 || exit 2
"$folder/venv/bin/python" - <<'EOF'
import sys

import pyarrow as pa
import pyarrow.compute as pc

home, away = pa.array(["a", None, "c"]), pa.array(["b", None, None])
joined = pc.binary_join_element_wise(home, away, ",", null_handling="skip")
print(f"pyarrow {pa.__version__}: {len(home)} rows in, {len(joined)} rows out: {joined.to_pylist()}")
sys.exit(0 if joined.to_pylist() == ["a,b", "c"] else 1)
EOF
