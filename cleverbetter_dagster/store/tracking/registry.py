"""The model registry: versions of model families in MLflow, and the alias `champion` that one of them has.

MLflow's stages are deprecated, so the guide's stage names are in the tag `stage` of a version, beside the alias. The
`ledger` decides who is champion; alias and tag show that decision to people and programs that read MLflow.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import ModelNotFound, RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.postgres.database import psycopg_connect
from cleverbetter_dagster.store.postgres.locks import advisory_lock
from cleverbetter_dagster.store.tracking.client import mlflow_client
from cleverbetter_dagster.store.tracking.files import OWNER, OWNER_TAG, SHA256_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

Stage = Literal["None", "Staging", "Production", "Archived"]

CHAMPION = "champion"
STAGE_TAG = "stage"
LINEAGE_TAGS = ("training", "parent_version", "rows_added", "rows_lost", "watermark")
"""What a version was trained on; see `services.records.ModelRecord`."""

SPEC_TAG = "dataset_spec"
"""The dataset options of a model, as JSON."""

FORMAT_TAG = "model_format"
"""How the model's files are laid out. Only a release that has this format can load it."""

STAKING_TAG = "staking_spec"
"""The bounds on stakes that a version carries, as JSON: those it was judged with, or those set since."""

RUN_TAGS = ("family", "as_of", "data_hash", "git_commit", "dagster.run_id")
COPIED_TAGS = (*RUN_TAGS, SHA256_TAG, FORMAT_TAG, SPEC_TAG, *LINEAGE_TAGS)
"""Tags of a run that its version gets as well."""

MAX_FAMILIES, MAX_VERSIONS = 1000, 200_000
"""The most that MLflow gives in one answer."""

REGISTRATION_LOCK = "mlflow registration"


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a family.

    Attributes:
        family: the name it is registered under.
        model_uri: `models:/<family>/<version>`, for `package.load_model`.
        sha256: recorded hash of the model's files.
        is_champion: whether it has the alias `champion`.
    """

    family: str
    version: int
    run_id: str
    as_of: str
    model_uri: str
    sha256: str
    stage: Stage
    is_champion: bool
    created_at: datetime
    tags: Mapping[str, str] = field(repr=False, hash=False)

    @property
    def model_family(self) -> str:
        """The family of its model. Differs from `family` only if a person registered it under another name."""
        return self.tags.get("family", self.family)

    @property
    def staking_spec(self) -> StakingSpec | None:
        """The bounds on its stakes; None if another release registered it."""
        try:
            return StakingSpec.model_validate_json(self.tags.get(STAKING_TAG, ""))
        except ValidationError:
            return None

    @property
    def dataset_spec(self) -> DatasetSpec | None:
        """Its dataset options; None if another release recorded them, or if none are recorded."""
        try:
            return DatasetSpec.model_validate_json(self.tags.get(SPEC_TAG, ""))
        except ValidationError:
            return None


class Registry:
    """The registered model families of one deployment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _client(self) -> "MlflowClient":
        return mlflow_client(self._settings)

    def register(self, run_id: str, family: str, tags: Mapping[str, str] | None = None) -> int:
        """Register the model logged in a run as the next version of `family`.

        If the run is registered already, its version gets the tags.

        Raises:
            ModelNotFound: there is no such run, or no model was logged in it.
        """
        with (
            closing(psycopg_connect(self._settings, "state", autocommit=True)) as connection,
            advisory_lock(connection, REGISTRATION_LOCK),
        ):
            self._own(family)
            known = self._client.search_model_versions(f"name = '{family}' and run_id = '{run_id}'")
            version = int(known[0].version) if known else self._create(run_id, family)
        self.set_tags(family, version, tags or {})
        return version

    def set_tags(self, family: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version, replacing those of the same name."""
        for key, value in tags.items():
            self._client.set_model_version_tag(family, str(version), key, value)

    def get_version(self, family: str, version: int) -> ModelVersion:
        """One version.

        Raises:
            ModelNotFound: there is no such family or version.
        """
        return _the_one(self.list_versions(family), family, version)

    def list_versions(self, family: str | None = None) -> list[ModelVersion]:
        """The versions of `family`, or of all families, by family and version."""
        models = self._client.search_registered_models(f"tags.`{OWNER_TAG}` = '{OWNER}'", max_results=MAX_FAMILIES)
        versions = [
            _version(entity, is_champion=str(entity.version) == str(model.aliases.get(CHAMPION)))
            for model in models
            if family in (None, model.name)
            for entity in self._client.search_model_versions(f"name = '{model.name}'", max_results=MAX_VERSIONS)
        ]
        return sorted(versions, key=lambda version: (version.family, version.version))

    def set_champion(self, family: str, version: int) -> None:
        """Give one version the alias and the stage Production, and the former champion the stage Archived.

        It gets the alias before another family loses it, so there is a champion at every moment. Only `ledger` calls
        this, under a lock.

        Raises:
            ModelNotFound: there is no such version; nothing was changed.
        """
        versions = self.list_versions()
        champion = _the_one(versions, family, version)
        if not champion.is_champion:
            self._client.set_registered_model_alias(family, CHAMPION, str(version))
        for other in versions:
            if other.is_champion and other.family != family:
                self._client.delete_registered_model_alias(other.family, CHAMPION)
            if other.stage == "Production" and other != champion:
                self.set_tags(other.family, other.version, {STAGE_TAG: "Archived"})
        if champion.stage != "Production":
            self.set_tags(family, version, {STAGE_TAG: "Production"})

    def set_stage(self, family: str, version: int, stage: Literal["None", "Staging", "Archived"]) -> None:
        """Give a version another of the guide's stages. Only a promotion gives Production.

        Raises:
            ModelNotFound: there is no such version.
            RegistryError: it is the champion.
        """
        if self.get_version(family, version).is_champion:
            raise RegistryError(
                f"{family} v{version} is the champion and stays in Production; promote another or roll back first."
            )
        self.set_tags(family, version, {STAGE_TAG: stage})

    def _own(self, family: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(family)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self._client.set_registered_model_tag(family, OWNER_TAG, OWNER)

    def _create(self, run_id: str, family: str) -> int:
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            raise ModelNotFound(f"MLflow has no run {run_id!r} to register; train the model again.") from error
        outputs = run.outputs.model_outputs if run.outputs else []
        if not outputs:
            raise ModelNotFound(f"No model was logged in the run {run_id}; nothing can be registered as {family!r}.")
        logged = self._client.get_logged_model(outputs[-1].model_id)
        tags = {key: run.data.tags[key] for key in COPIED_TAGS if key in run.data.tags}
        created = self._client.create_model_version(
            family, logged.artifact_location, run_id, tags={**tags, STAGE_TAG: "None"}, model_id=logged.model_id
        )
        return int(created.version)


def may_hold_versions(settings: Settings) -> bool:
    """False if MLflow's tables in the one database were never created. To ask MLflow would create them, in seconds."""
    if settings.mlflow_tracking_uri is not None:
        return True
    with closing(psycopg_connect(settings, "mlflow", autocommit=True)) as connection:
        return connection.execute("SELECT to_regclass('registered_models') IS NOT NULL").fetchone() == (True,)


def _the_one(versions: list[ModelVersion], family: str, version: int) -> ModelVersion:
    by_number = {one.version: one for one in versions if one.family == family}
    if version not in by_number:
        registered = ", ".join(map(str, by_number)) or "none"
        raise ModelNotFound(f"{family!r} has no version {version}; registered versions: {registered}.")
    return by_number[version]


def _version(entity: Any, *, is_champion: bool) -> ModelVersion:
    family, version = entity.name, int(entity.version)
    return ModelVersion(
        family=family,
        version=version,
        run_id=entity.run_id,
        as_of=entity.tags.get("as_of", ""),
        model_uri=f"models:/{family}/{version}",
        sha256=entity.tags.get(SHA256_TAG, ""),
        stage=entity.tags.get(STAGE_TAG, "None"),
        is_champion=is_champion,
        created_at=datetime.fromtimestamp(entity.creation_timestamp / 1000, tz=UTC),
        tags=dict(entity.tags),
    )
