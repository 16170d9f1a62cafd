"""The entry in the catalogue, as a pytest plugin: loaded before anything that reads the catalogue."""

from types import MappingProxyType

from cleverbetter_dagster.learning import catalogue
from cleverbetter_dagster_tests.fourth_family.boosting import Boosting

catalogue.FAMILIES = MappingProxyType({**catalogue.FAMILIES, "boosting": Boosting()})
