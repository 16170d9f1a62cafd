"""`/api/v1/models` and `/api/v1/predictions`: versions, the champion, decisions about it, and what it predicts."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query

from cleverbetter_dagster.api.messages import (
    CONFLICT,
    NOT_FOUND,
    READ_REFUSALS,
    WRITE_REFUSALS,
    Champion,
    Model,
    Models,
    Prediction,
    Predictions,
    PromotionBody,
    PromotionResponse,
    RollbackBody,
)
from cleverbetter_dagster.services.champion.manual_promotion import promote_by_hand, roll_back_by_hand
from cleverbetter_dagster.services.champion.renewal import no_stakes, stakes_line
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.predictions import read_predictions
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry

ACTOR = "REST API"
MOST_PREDICTIONS = 10_000

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]+$", max_length=100)]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]
Month = Annotated[str | None, Query(pattern=r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])$", description="YYYY-MM")]


def models(settings: Settings) -> APIRouter:
    """The routes of registered models, of the champion and of its predictions."""
    routes = APIRouter(prefix="/api/v1", tags=["models"])
    deciding = WRITE_REFUSALS | NOT_FOUND | CONFLICT

    @routes.get("/models", responses=READ_REFUSALS)
    def versions() -> Models:
        """Every registered version, by name and version."""
        return Models(models=[_model(version) for version in Registry(settings).list_versions()])

    @routes.get("/models/champion", responses=READ_REFUSALS | NOT_FOUND)
    def champion() -> Champion:
        """The champion, since when, and why."""
        entry = ledger.champion(settings)
        if entry is None:
            raise HTTPException(404, "No model was promoted yet.")
        return Champion(**_named(entry), since=entry.decided_at, reason=entry.reason, decided_by=entry.actor)

    @routes.post("/models/{model_name}/versions/{version}/promote", responses=deciding)
    def promote(model_name: Name, version: Version, body: PromotionBody) -> PromotionResponse:
        """Make a version champion if the gate accepts it, and score every strategy. `override_gate` needs no gate."""
        entry = promote_by_hand(settings, (model_name, version), body.reason, ACTOR, override=body.override_gate)
        return _promotion_response(settings, entry)

    @routes.post("/models/rollback", responses=deciding)
    def rollback(body: RollbackBody) -> PromotionResponse:
        """Return to the champion's predecessor, and score every strategy with it."""
        return _promotion_response(settings, roll_back_by_hand(settings, body.reason, ACTOR))

    @routes.get("/predictions", responses=READ_REFUSALS)
    def predictions(as_of: Month = None, limit: Annotated[int, Query(ge=1, le=MOST_PREDICTIONS)] = 1000) -> Predictions:
        """What the champion says now, or why it says nothing; with `as_of`, what all models said as of that month."""
        rows = read_predictions(settings, as_of).head(limit).to_dict("records")
        message = None if rows or as_of else no_stakes(ledger.champion(settings))
        predictions = [_prediction(dict(row)) for row in rows]  # type: ignore[arg-type]
        return Predictions(predictions=predictions, message=message)

    return routes


def _named(version: ModelVersion | ledger.LedgerEntry) -> dict[str, str]:
    """The fields of a `Version`."""
    return {"model_name": version.family, "version": str(version.version), "as_of": version.as_of}


def _model(version: ModelVersion) -> Model:
    return Model(
        **_named(version),
        model_family=version.model_family,
        stage=version.stage,
        is_champion=version.is_champion,
        created_at=version.created_at,
    )


def _promotion_response(settings: Settings, entry: ledger.LedgerEntry) -> PromotionResponse:
    champion = ledger.champion(settings)
    return PromotionResponse(
        **_named(entry),
        action=entry.action,
        champion=str(champion) if champion else None,
        stakes=stakes_line(settings),
    )


def _prediction(row: dict[str, Any]) -> Prediction:
    known = {name: row[name] for name in ("strategy_id", "method", "as_of", "probability", "recommended_stake")}
    maybe = {name: row[name] if math.isfinite(row[name]) else None for name in ("confidence", "expected_return")}
    return Prediction(
        **known,
        **maybe,
        model_name=row["family"],
        model_version=str(row["model_version"]),
        decision_time=row["decision_time"].to_pydatetime(),
    )
