"""The home folder, `DAGSTER_HOME`, made ready for Dagster."""

from importlib.resources import files
from pathlib import Path

from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import Settings

INSTANCE_FILE = "dagster.yaml"


def prepare_home(settings: Settings) -> Path:
    """Create the home folder and its `dagster.yaml` where missing; one that is there is left as it is.

    Raises:
        SettingsError: the folder cannot be written.
    """
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / INSTANCE_FILE).exists():
            template = files("cleverbetter_dagster") / INSTANCE_FILE
            (home / INSTANCE_FILE).write_text(template.read_text())
        settings.state_folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"Cannot use {home} (DAGSTER_HOME): {error}. Set it to a folder of yours.") from error
    return home
