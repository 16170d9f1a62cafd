"""Every setting is described, and no error shows a secret."""

import re

import pytest

from cleverbetter_dagster.cli.settings_table import rows
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.setting_sources import unread_variables
from cleverbetter_dagster.settings import (
    DATABASE_URLS,
    Settings,
    load_settings,
    variable_of,
)

SECRET = "Tr0ub4dor"


def test_every_setting_has_a_meaning_and_a_default() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert re.fullmatch(r"[A-Z_]+", variable_of(name))
    assert all(row.default not in ("`None`", "`PydanticUndefined`") for row in rows())


@pytest.mark.parametrize("field", DATABASE_URLS)
@pytest.mark.parametrize("url", [f"mysql://ann:{SECRET}@db/x", SECRET, f"{SECRET}:x", f"http://{SECRET}"])
def test_a_wrong_url_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, field: str, url: str) -> None:
    monkeypatch.setenv(variable_of(field), url)
    with pytest.raises(SettingsError, match=variable_of(field)) as caught:
        load_settings()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLEVERBETTER_THREADS", "many"),
        ("CLEVERBETTER_DAGSTER_PORT", "99999"),
        ("CLEVERBETTER_FIRST_MONTH", "2020"),
        ("CLEVERBETTER_RESULTS_TABLE", "a.b.c"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"{variable} \(\w.*\).*{value}"):
        load_settings()
    monkeypatch.setenv(variable, "")
    load_settings()  # blank is unset


def test_neither_table_nor_repr_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in DATABASE_URLS:
        monkeypatch.setenv(variable_of(field), f"postgresql://ann:{SECRET}@db/x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{SECRET}@mlflow")
    monkeypatch.setenv("CLEVERBETTER_ARTEFACTS_URL", f"s3://key:{SECRET}@bucket")
    settings = load_settings()
    assert SECRET not in repr(settings) + str(settings) + repr(rows(settings))
    shown = {row.variable: row.value for row in rows(settings)}
    secrets = (*map(variable_of, DATABASE_URLS), "MLFLOW_TRACKING_URI", "CLEVERBETTER_ARTEFACTS_URL")
    assert {shown[variable] for variable in secrets} == {"(hidden)"}


def test_an_unread_variable_is_named_with_the_one_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(variable_of(name), "x")
        monkeypatch.setenv(f"CLEVERBETTER_{name.upper()}", "x")  # Pydantic reads this as well
    monkeypatch.setenv("cleverbetter_threads", "2")  # and this
    monkeypatch.setenv("CLEVERBETTER_UP", "ours")  # so does `cleverbetter down`
    assert unread_variables() == {}
    monkeypatch.setenv("CLEVERBETTER_POLL_SECOND", "5")
    monkeypatch.setenv("CLEVERBETTER_QWFPGJLUY", "5")
    assert unread_variables() == {
        "CLEVERBETTER_POLL_SECOND": "CLEVERBETTER_POLL_SECONDS",
        "CLEVERBETTER_QWFPGJLUY": None,
    }


def test_categories_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_CATEGORICAL_FEATURES", " track, country,,track")
    assert load_settings().categorical_features == ("country", "track")
    monkeypatch.setenv("CLEVERBETTER_CATEGORICAL_FEATURES", "a=b")
    with pytest.raises(SettingsError, match="CLEVERBETTER_CATEGORICAL_FEATURES"):
        load_settings()


@pytest.mark.parametrize(
    ("urls", "trouble"),
    [
        (f"tgram://{SECRET}/42 {SECRET}", "number 2 of 2 is no URL"),
        (" ".join(f"json://{SECRET}/{number}" for number in range(21)), "at most 20"),
    ],
)
def test_wrong_alert_urls_are_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, urls: str, trouble: str) -> None:
    monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", urls)
    with pytest.raises(SettingsError, match=rf"CLEVERBETTER_ALERT_URLS .*{trouble}") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_alert_urls_are_separated_by_blanks_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", f" json://{SECRET}/a?to=x,y\n json://{SECRET}/b json://{SECRET}/b ")
    settings = load_settings()
    assert [url.get_secret_value().rpartition("/")[2] for url in settings.alert_urls] == ["a?to=x,y", "b"]
    assert SECRET not in repr(settings) + repr(rows(settings))
    monkeypatch.setenv("CLEVERBETTER_ALERT_URLS", "")
    assert load_settings().alert_urls == ()


@pytest.mark.parametrize(
    "url", ["s3://bucket", "gs://bucket/a/b/", "/mnt/shared", "abfss://c@a.dfs.core.windows.net/x"]
)
def test_a_storage_is_a_bucket_or_an_absolute_folder(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CLEVERBETTER_STORAGE_URL", url)
    settings = load_settings()
    assert settings.storage_url == url.rstrip("/")
    assert settings.artefacts_base == f"{url.rstrip('/')}/artefacts"


@pytest.mark.parametrize("url", ["shared", "s3://key:word@bucket", "s3:///x", "ftp://host/x", "/a/../b", "s3://b/x?y"])
def test_a_storage_that_machines_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CLEVERBETTER_STORAGE_URL", url)
    with pytest.raises(SettingsError, match="CLEVERBETTER_STORAGE_URL"):
        load_settings()
