"""The page of the documentation that shows a notebook: its texts, its code, and what that printed when it was run."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> str:
    """The cells of a notebook as Markdown, after a link to its file."""
    cells = json.loads(path.read_text())["cells"]
    first, *rest = (part for cell in cells for part in _parts(cell))
    return "\n\n".join([first, f"[The notebook's file]({path.name})", *rest])


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield text
        return
    yield f"```python\n{text}\n```"
    for output in cell["outputs"]:
        shown = output.get("text") or output.get("data", {}).get("text/plain")
        if shown:
            yield f"```text\n{''.join(shown).rstrip()}\n```"
