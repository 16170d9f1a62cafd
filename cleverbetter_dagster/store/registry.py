"""The model registry: versions of model families in MLflow, and the alias `champion` that one of them carries.

MLflow's stages are deprecated, so the guide's stage names live in the tag `stage` of a version, beside the alias. Who
is champion is decided in the `ledger`; what is here mirrors that decision for people and programs that read MLflow.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from cleverbetter_dagster.errors import ModelNotFound, RegistryError
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.database import advisory_lock, psycopg_connect
from cleverbetter_dagster.store.model_package import SHA256_TAG
from cleverbetter_dagster.store.tracking import mlflow_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

Stage = Literal["None", "Staging", "Production", "Archived"]

CHAMPION = "champion"
STAGE_TAG = "stage"
OWNER_TAG = "cleverbetter"
OWNER = "family"
"""Registered models that carry this tag are ours; others on the same server are never touched."""

COPIED_TAGS = ("family", "as_of", "data_hash", "git_commit", "dagster_run_id", SHA256_TAG)
"""Tags of a run that its version carries as well."""

REGISTRATION_LOCK = "mlflow registration"


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a family.

    Attributes:
        model_uri: `models:/<family>/<version>`, what `model_package.load_model` takes.
        sha256: recorded hash of the model's files.
        is_champion: whether it carries the alias `champion`.
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
    tags: Mapping[str, str] = field(repr=False)


class Registry:
    """The registered model families of one deployment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def _client(self) -> "MlflowClient":
        return mlflow_client(self._settings)

    def register(self, run_id: str, family: str, tags: Mapping[str, str] | None = None) -> int:
        """Register the model logged in a run as the next version of `family`.

        Registering a run again returns the version it already has, with `tags` added to it.

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
        for key, value in (tags or {}).items():
            self._client.set_model_version_tag(family, str(version), key, value)
        return version

    def get_version(self, family: str, version: int) -> ModelVersion:
        """One version.

        Raises:
            ModelNotFound: there is no such family or version.
        """
        for candidate in self.list_versions(family):
            if candidate.version == version:
                return candidate
        known = ", ".join(str(candidate.version) for candidate in self.list_versions(family)) or "none"
        raise ModelNotFound(f"{family!r} has no version {version}; registered versions: {known}.")

    def list_versions(self, family: str | None = None) -> list[ModelVersion]:
        """The versions of `family`, or of all families, by family and version."""
        champions = set(self._aliased())
        found = [
            _version(entity, champions)
            for name in self._families()
            if family in (None, name)
            for entity in self._search(f"name = '{name}'")
        ]
        return sorted(found, key=lambda version: (version.family, version.version))

    def champion(self) -> ModelVersion | None:
        """The version that carries the alias `champion`.

        Raises:
            RegistryError: two families have one, as between the two steps of moving it, or after a crash there.
        """
        holders = self._aliased()
        if len(holders) > 1:
            names = " and ".join(f"{family} v{version}" for family, version in holders)
            raise RegistryError(
                f"{names} are both champion in MLflow. Mirror the ledger again (ledger.reconcile)."
            )
        return self.get_version(*holders[0]) if holders else None

    def set_champion(self, family: str, version: int) -> ModelVersion:
        """Make one version champion: its alias, stage Production; every former holder becomes Archived.

        The winner gets the alias before another family loses it, so that there is no moment without a champion.
        Callers come through `ledger`, which holds the lock that keeps two of them apart.

        Raises:
            ModelNotFound: there is no such version; nothing was changed.
        """
        winner = self.get_version(family, version)
        if not winner.is_champion:
            self._client.set_registered_model_alias(family, CHAMPION, str(version))
        for holder, _ in self._aliased():
            if holder != family:
                self._client.delete_registered_model_alias(holder, CHAMPION)
        for other in self.list_versions():
            if other.stage == "Production" and (other.family, other.version) != (family, version):
                self._client.set_model_version_tag(other.family, str(other.version), STAGE_TAG, "Archived")
        if winner.stage != "Production":
            self._client.set_model_version_tag(family, str(version), STAGE_TAG, "Production")
        return self.get_version(family, version)

    def set_stage(
        self, family: str, version: int, stage: Literal["None", "Staging", "Archived"]
    ) -> ModelVersion:
        """Give a version another of the guide's stages. Production is given by promotion only.

        Raises:
            ModelNotFound: there is no such version.
            RegistryError: it is the champion.
        """
        if self.get_version(family, version).is_champion:
            raise RegistryError(
                f"{family} v{version} is the champion and stays in Production; promote another or roll back first."
            )
        self._client.set_model_version_tag(family, str(version), STAGE_TAG, stage)
        return self.get_version(family, version)

    def _own(self, family: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            tags = self._client.get_registered_model(family).tags
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(family, tags={OWNER_TAG: OWNER})
            return
        if tags.get(OWNER_TAG) != OWNER:
            self._client.set_registered_model_tag(family, OWNER_TAG, OWNER)

    def _create(self, run_id: str, family: str) -> int:
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            raise ModelNotFound(
                f"MLflow has no run {run_id!r} to register; train the model again."
            ) from error
        outputs = run.outputs.model_outputs if run.outputs else []
        if not outputs:
            raise ModelNotFound(
                f"No model was logged in the run {run_id}; nothing can be registered as {family!r}."
            )
        logged = self._client.get_logged_model(outputs[-1].model_id)
        tags = {key: run.data.tags[key] for key in COPIED_TAGS if key in run.data.tags}
        created = self._client.create_model_version(
            family,
            logged.artifact_location,
            run_id,
            tags={**tags, STAGE_TAG: "None"},
            model_id=logged.model_id,
        )
        return int(created.version)

    def _families(self) -> dict[str, dict[str, str]]:
        """Aliases by registered model, of those that are ours."""
        models = _pages(self._client.search_registered_models, f"tags.`{OWNER_TAG}` = '{OWNER}'")
        return {model.name: dict(model.aliases) for model in models}

    def _aliased(self) -> list[tuple[str, int]]:
        return [
            (name, int(aliases[CHAMPION]))
            for name, aliases in self._families().items()
            if CHAMPION in aliases
        ]

    def _search(self, condition: str) -> list[Any]:
        return _pages(self._client.search_model_versions, condition)


def _version(entity: Any, champions: set[tuple[str, int]]) -> ModelVersion:
    family, version = entity.name, int(entity.version)
    return ModelVersion(
        family=family,
        version=version,
        run_id=entity.run_id,
        as_of=entity.tags.get("as_of", ""),
        model_uri=f"models:/{family}/{version}",
        sha256=entity.tags.get(SHA256_TAG, ""),
        stage=entity.tags.get(STAGE_TAG, "None"),
        is_champion=(family, version) in champions,
        created_at=datetime.fromtimestamp(entity.creation_timestamp / 1000, tz=UTC),
        tags=dict(entity.tags),
    )


def _pages(search: Any, condition: str) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(condition, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
