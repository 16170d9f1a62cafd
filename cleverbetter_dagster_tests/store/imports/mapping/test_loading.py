"""What a mapping file may say."""

from pathlib import Path

import pytest

from cleverbetter_dagster.errors import ImportFileError, InvalidRequest
from cleverbetter_dagster.store.imports.mapping.loading import load_mapping, load_preset, preset_names
from cleverbetter_dagster.store.imports.mapping.spec import ImportMapping


def mapping(tmp_path: Path, text: str) -> ImportMapping:
    (path := tmp_path / "m.toml").write_text(text)
    return load_mapping(path)


def test_every_wrong_name_is_listed_with_the_closest(tmp_path: Path) -> None:
    text = """
    [columns]
    win_rat = "Win Rate [%]"
    end_date = "End"
    [constants]
    strategy = "s"
    [units]
    start_date = "epoch seconds"
    [dates]
    timezone = "Europe/Londn"
    """
    with pytest.raises(InvalidRequest) as raised:
        mapping(tmp_path, text)
    problems = {(problem.field, problem.message) for problem in raised.value.problems}
    assert problems == {
        ("columns.win_rat", "there is no such column; closest: win_rate"),
        ("constants.strategy", "there is no such column; closest: strategy_id"),
        ("units.start_date", "there is no such column"),
        ("dates.timezone", "'Europe/Londn' is no time zone; closest: Europe/London"),
    }


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("colums = {}", "colums", "a mapping has no 'colums'; closest: columns"),
        ("[file]\norientaton = 'rows'", "file.orientaton", "a mapping has no 'orientaton'; closest: orientation"),
        ("[dates]\nzone = 'UTC'", "dates.zone", "a mapping has no 'zone'; closest: timezone"),
        (
            "[columns]\nend_date = 'E'\n[bets]\nplaced = 'P'\nprofit = 'G'",
            "bets",
            "does not go with columns and features",
        ),
        ("[file]\norientation = 'sideways'", "file.orientation", "'sideways' does not fit"),
        ("[columns]\nwin_rate = 3", "columns.win_rate", "3 does not fit"),
        (
            "[columns]\nend_date = 'End'\n[units]\nend_date = 'percent'",
            "units.end_date",
            "end_date has no unit 'percent'",
        ),
        ("[columns]\nwin_rate = 'W'\n[units]\nwin_rate = 'per cent'", "units.win_rate", "'per cent' does not fit"),
        ("[columns]\nmethod = 'M'\n[constants]\nmethod = 'x'", "constants.method", "is among the columns as well"),
        ("[file]\nname = '{strategy}.csv'", "file.name.strategy", "there is no such column; closest: strategy_id"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(tmp_path: Path, text: str, field: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        mapping(tmp_path, text)
    assert (field, message) in {(problem.field, problem.message) for problem in raised.value.problems}


def test_a_wrong_table_hides_no_wrong_column(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as raised:
        mapping(tmp_path, "[columns]\nwin_rat = 'W'\n[dates]\nzone = 'UTC'")
    assert {problem.field for problem in raised.value.problems} == {"columns.win_rat", "dates.zone"}


@pytest.mark.parametrize("text", ["[columns", "a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ImportFileError, match=r"m\.toml cannot be read as a mapping"):
        mapping(tmp_path, text)


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="'vectorbtpro' is none; closest: vectorbt"):
        load_preset("vectorbtpro")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_valid_mapping(name: str) -> None:
    assert load_preset(name).tool == name
