"""Every model family there is. A further family is one module and its entry here."""

from collections.abc import Mapping
from types import MappingProxyType

from cleverbetter_dagster.errors import UnknownFamily
from cleverbetter_dagster.learning.classifier.family import Classifier
from cleverbetter_dagster.learning.ensemble.family import Ensemble
from cleverbetter_dagster.learning.family import Family
from cleverbetter_dagster.learning.rl_agent.family import RlAgent

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (Ensemble(), Classifier(), RlAgent())}
)
"""By name. The order counts: rules of thumb stake on the probability of the first that does not stake by itself."""

DEFAULT_FAMILY = next(iter(FAMILIES))
"""The family where none is named."""


def get_family(name: str) -> Family:
    """The family called `name`.

    Raises:
        UnknownFamily: there is none; the message lists those there are.

    >>> get_family("ensemble").title
    'Stacked ensemble'
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise UnknownFamily(f"No model family is called {name!r}; there are: {', '.join(FAMILIES)}.") from None


def stored_types() -> tuple[type, ...]:
    """Every class that a stored model of some family may consist of; no other is made when a model is loaded."""
    return tuple(dict.fromkeys(each for family in FAMILIES.values() for each in family.stored_types))
