"""Metadata as Dagster stores and shows it: without secrets, and no digit that nobody reads."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from cleverbetter_dagster.redaction import redacted

DECIMALS = 6
"""Of floats, because the UI shows and plots all digits there are."""

TEXTS: tuple[tuple[type[Any], Callable[[str], dg.MetadataValue]], ...] = (
    (dg.MarkdownMetadataValue, dg.MetadataValue.md),
    (dg.TextMetadataValue, dg.MetadataValue.text),
    (dg.UrlMetadataValue, dg.MetadataValue.url),
    (dg.PathMetadataValue, dg.MetadataValue.path),
)
"""Metadata that is a text, and how it is made of one."""


def stored_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with its floats rounded, and no secret in its texts, Markdown and addresses."""
    return {name: _stored(value) for name, value in metadata.items()}


def _stored(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, str):
        return redacted(value)
    for kind, made in TEXTS:
        if isinstance(value, kind):
            return made(redacted(str(value.value)))
    return value
