"""The training guide's `ModelRegistry`: registering, promoting and loading models from a notebook."""

import logging
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import SecretStr

from cleverbetter_dagster.errors import InvalidInput, ModelNotFound
from cleverbetter_dagster.learning.catalogue import get_family
from cleverbetter_dagster.services.champion.manual_promotion import promote_by_hand
from cleverbetter_dagster.services.champion.renewal import stakes_line
from cleverbetter_dagster.services.champion.staking_options import check_options, record_staking
from cleverbetter_dagster.services.notebook.trained_model import TrainedModel, load_trained, register_trained
from cleverbetter_dagster.settings import load_settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.tracking.registry import Registry, Stage

__all__ = ["ModelRegistry"]

ACTOR = "notebook"
PRODUCTION = "Production"

log = logging.getLogger(__name__)


class ModelRegistry:
    """The registered models of one deployment. MLflow has the versions; the ledger says which is champion."""

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment_name: str | None = None,
        database_url: str | None = None,
    ) -> None:
        """Nothing is connected to yet.

        Args:
            tracking_uri: of MLflow; None: as MLFLOW_TRACKING_URI says.
            experiment_name: None: as MLFLOW_EXPERIMENT_NAME says.
            database_url: where the ledger is; None: as DATABASE_URL says.
        """
        own = {
            "mlflow_tracking_uri": tracking_uri,
            "mlflow_experiment_name": experiment_name,
            "database_url": SecretStr(database_url) if database_url else None,
        }
        self._settings = load_settings().model_copy(update={name: value for name, value in own.items() if value})

    def register_model(
        self,
        model: TrainedModel,
        model_name: str,
        model_type: str,
        metrics: Mapping[str, float],
        params: Mapping[str, Any] | None = None,
        staking: Mapping[str, float] | None = None,
    ) -> int:
        """Log a trained model to MLflow, with its provenance and hash, and register it as the next version.

        Args:
            model: from `TrainingPipeline.train_model` or `incremental_train`.
            model_name: a family, usually the model's own. Under another's name it can be promoted, and predicts, but
                automatic retraining of neither family goes on from it; a warning says so.
            model_type: a word for the kind of model, such as `sklearn`; it becomes a tag.
            metrics: numbers by name; those that are not finite are left out.
            params: hyperparameters. Those the model was trained with are logged in any case; if these differ, they are
                logged as `given.<name>` and a warning says so.
            staking: options of `betting.staking.StakingSpec`, such as `{"max_stake_fraction": 0.01}`. The version keeps
                them; what is left out stays as the champion has it.

        Returns:
            The version.

        Raises:
            InvalidInput: `model` does not come from a pipeline, or a staking option is unknown or out of range.
            UnknownFamily: `model_name` is no family.
        """
        if not isinstance(model, TrainedModel):
            raise InvalidInput(
                f"Cannot register a {type(model).__name__}: its rows and split are not known. Register what "
                "TrainingPipeline.train_model or incremental_train returned."
            )
        get_family(model_name)
        given = {name: value for name, value in (params or {}).items() if model.params.get(name) != value}
        if given:
            log.warning(
                "%s was not trained with these params: %s. Pass params to train_model to use them.",
                *(model_name, ", ".join(sorted(given))),
            )
        tags = {"model_type": model_type, **{f"given.{name}": str(value) for name, value in given.items()}}
        options = dict(staking or {})
        check_options(options)
        version = register_trained(self._settings, model, model_name, metrics, tags)
        record_staking(self._settings, model_name, version, options)
        if model_name != model.family:
            log.warning(
                "%s v%s holds a model of the family %s. It can be promoted, but automatic retraining of neither family "
                "goes on from it.",
                *(model_name, version, model.family),
            )
        return version

    def promote_model(
        self,
        model_name: str,
        version: int | str,
        stage: str = PRODUCTION,
        reason: str = "promoted by hand from a notebook",
        override_gate: bool = False,
    ) -> str:
        """Give a version a stage. Production makes it champion if the gate accepts it; the others set its tag.

        A new champion scores every live strategy at once.

        Args:
            model_name: a family.
            version: of it.
            stage: `Production`, `Staging`, `Archived` or `None`; MLflow's UI shows it as the version's tag `stage`.
            reason: recorded in the ledger.
            override_gate: promote a version that the gate refuses; the ledger records that. Without it the gate judges
                a version that nobody judged yet, on the test rows of its own split.

        Returns:
            A sentence about the result, which is also logged.

        Raises:
            InvalidInput: there is no such stage.
            ModelNotFound: there is no such version.
            GateRefused: the gate refuses the version, or cannot judge it, and is not overridden.
            RegistryError: it is the champion and stays that.
        """
        if stage not in get_args(Stage):
            raise InvalidInput(f"stage is {stage!r}, must be one of {', '.join(get_args(Stage))}.")
        if stage == PRODUCTION:
            entry = promote_by_hand(self._settings, (model_name, int(version)), reason, ACTOR, override=override_gate)
            champion = ledger.champion(self._settings)
            message = (
                f"{entry} was promoted (ledger row {entry.id}) as of {entry.as_of}; the champion is {champion}. "
                f"{stakes_line(self._settings)}"
            )
        else:
            Registry(self._settings).set_stage(model_name, int(version), stage)  # type: ignore[arg-type]
            message = f"{model_name} v{version} is in stage {stage}; promotion to Production alone makes a champion."
        log.info(message)
        return message

    def load_model(self, model_name: str, version: int | str | None = None) -> TrainedModel:
        """A registered version, by default the champion. Its hash is checked before it is opened.

        Raises:
            ModelNotFound: there is no such version, or `model_name` has no champion.
            ModelTampered: its files were changed.
        """
        registry = Registry(self._settings)
        if version is not None:
            return load_trained(self._settings, registry.get_version(model_name, int(version)))
        champion = ledger.champion(self._settings)
        if champion is None or champion.family != model_name:
            raise ModelNotFound(f"{model_name!r} has no champion; name a version.")
        return load_trained(self._settings, registry.get_version(*champion.model))
