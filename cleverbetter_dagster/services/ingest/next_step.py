"""What whoever misses the result of a training is told to do next: a command that works as things stand."""

from cleverbetter_dagster.errors import SchemaError
from cleverbetter_dagster.services.ingest.loading import months_with_rows, this_month
from cleverbetter_dagster.settings import Settings


def training_step(settings: Settings, as_of: str | None = None, command: str = "retrain") -> str:
    """A sentence with the command that trains, or, where there is nothing to train on, where rows come from.

    Args:
        as_of: the month that is wanted; it is named if a model can be trained as of it.
        command: that trains, such as `train ensemble`.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    try:
        months = months_with_rows(settings)
    except SchemaError:  # there is no table yet
        months = []
    if not months:
        return "There are no rows to train on: `cleverbetter import --help` says where they come from."
    if as_of is None:
        return f"`cleverbetter {command}` makes it."
    if months[0] <= as_of <= this_month():
        return f"`cleverbetter {command} --as-of {as_of}` makes it."
    return f"Models can be trained as of {months[0]} to {this_month()}."
