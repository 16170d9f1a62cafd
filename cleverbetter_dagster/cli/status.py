"""stub"""


def status() -> None:
    """What is up."""
