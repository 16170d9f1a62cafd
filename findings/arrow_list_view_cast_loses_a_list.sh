#!/bin/bash
# pyarrow's cast from list_view to list empties the last list.
#
# One would guess: casting list_view<int64> to list<int64> keeps every value, since both hold the same lists and the cast raises
#   nothing.
# What happens: after a null, the last list comes out empty. The same array, flattened, still has its values; sliced from its second
#   element on, another list is empty.
# Instead: build the list array from list_value_length() and flatten().
# Seen with: pyarrow 25.0.1, Array.cast
#   https://arrow.apache.org/docs/format/Columnar.html#listview-layout
# Exit 0: it still is so. Exit 1: the behaviour changed. Exit 2: it could not be tried.
set -u
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" install -q --disable-pip-version-check pyarrow==25.0.1 || exit 2
"$folder/venv/bin/python" - <<'EOF'
import sys

import pyarrow as pa

lists = pa.array([[9, 9], [1, None], None, [3, 4]], pa.list_view(pa.int64()))
cast = lists.cast(pa.list_(pa.int64()))
print(f"pyarrow {pa.__version__}: {lists.to_pylist()} is cast to {cast.to_pylist()}; flattened: {lists.flatten().to_pylist()}")
kept = lists.to_pylist() == [[9, 9], [1, None], None, [3, 4]] and lists.flatten().to_pylist() == [9, 9, 1, None, 3, 4]
sys.exit(0 if kept and cast.to_pylist() == [[9, 9], [1, None], None, []] else 1)
EOF
