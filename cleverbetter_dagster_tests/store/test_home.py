"""The state folder, which holds rows, models and logs, is closed to other users."""

import stat
from pathlib import Path

from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.home import prepare_home


def test_a_new_state_folder_is_its_owners_alone(tmp_path: Path) -> None:
    prepare_home(Settings(home=tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new" / ".cleverbetter").stat().st_mode) == 0o700


def test_a_state_folder_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / ".cleverbetter").mkdir(mode=0o755)
    prepare_home(Settings(home=tmp_path))
    assert stat.S_IMODE((tmp_path / ".cleverbetter").stat().st_mode) == 0o700
