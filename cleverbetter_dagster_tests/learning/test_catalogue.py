import pytest

from cleverbetter_dagster.errors import UnknownFamily
from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family
from cleverbetter_dagster_tests.learning.conftest import SMALL


def test_a_family_is_found_by_its_name():
    assert all(get_family(name).name == name for name in FAMILIES)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UnknownFamily, match=r"'forest'.*ensemble"):
        get_family("forest")


def test_every_family_has_small_parameters_for_the_contract_suite():
    assert set(SMALL) == set(FAMILIES)
