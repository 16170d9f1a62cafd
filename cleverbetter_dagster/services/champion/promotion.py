"""The promotion of a month: its challenger against the champion of that month, decided and recorded in the ledger."""

import pandas as pd

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.errors import ModelOutdated
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, Verdict
from cleverbetter_dagster.services.champion.decision import (
    IS_CHAMPION,
    Contest,
    ModelScores,
    decide_promotion,
    gate_verdict,
)
from cleverbetter_dagster.services.champion.renewal import renew_stakes
from cleverbetter_dagster.services.evaluation.evaluate import score_test_rows
from cleverbetter_dagster.services.evaluation.scored_table import scored_by_model
from cleverbetter_dagster.services.evaluation.stakes import judge_staking, rows_of
from cleverbetter_dagster.services.records import Action, ChampionRecord, ComparisonRecord, EvaluatedModel
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.registry import ModelVersion, Registry

ACTOR = "asset champion"
CHALLENGER, CHAMPION = "challenger", "champion"


def promote_or_refuse(
    settings: Settings,
    comparison: ComparisonRecord,
    dataset: Dataset,
    policy: PromotionPolicy,
    dagster_run_id: str | None = None,
) -> ChampionRecord:
    """Judge the challenger of a month and promote it, or record why not. A new champion scores every strategy at once.

    The guarding checks run again, so that starting `champion` alone avoids none of them. Challenger and champion are
    scored again on the challenger's test rows, which are in the future of both: the champion's as_of is no later, and
    splits only move forward.
    """
    challenger = comparison.models[comparison.challenger]
    incumbent = ledger.champion_at(settings, comparison.as_of)
    contest = Contest(
        family=challenger.family,
        is_champion=incumbent is not None and incumbent.model == (challenger.family, challenger.version),
        staking=comparison.staking_comparisons(challenger.family),
        broken_guards=comparison.broken_guards,
    )
    action, verdict = decide_promotion(
        contest, lambda: _score(settings, challenger.model_uri, incumbent, dataset, challenger.staking)[0], policy
    )
    if verdict is None:
        ledger.restore_alias(settings, Registry(settings))  # a crash may have come between the ledger and the alias
        return _record(action, [IS_CHAMPION], challenger, incumbent)
    decision = ledger.Decision(
        family=challenger.family,
        version=challenger.version,
        run_id=challenger.run_id,
        as_of=comparison.as_of,
        reason=" ".join(verdict.reasons),
        actor=ACTOR,
        evidence=verdict.model_dump(mode="json"),
        dagster_run_id=dagster_run_id,
    )
    if action == "promoted":
        entry = ledger.promote(settings, Registry(settings), decision, incumbent)
        renew_stakes(settings, entry)  # also where the run's own month is not today's, or it makes no predictions
    else:
        entry = ledger.refuse(settings, decision)
    reasons = list(verdict.reasons) if entry.reason == decision.reason else [entry.reason]
    champion = ledger.champion_at(settings, comparison.as_of)
    recorded: Action = "promoted" if entry.action == "promoted" else "refused"
    return _record(recorded, reasons, challenger, champion)


def judge_model(
    settings: Settings,
    version: ModelVersion,
    incumbent: ledger.LedgerEntry | None,
    dataset: Dataset,
    policy: PromotionPolicy,
) -> Verdict:
    """The gate's verdict on one version, beside `incumbent` and every baseline on the test rows of `dataset`."""
    staking = version.staking_spec or StakingSpec()
    scores, own = _score(settings, version.model_uri, incumbent, dataset, staking)
    verdict = judge_staking(own, own, staking)
    return gate_verdict(scores, policy, [verdict] if verdict else [])


def _score(
    settings: Settings,
    model_uri: str,
    incumbent: ledger.LedgerEntry | None,
    dataset: Dataset,
    staking: StakingSpec,
) -> tuple[ModelScores, pd.DataFrame]:
    """The test rows as the challenger, the champion and every baseline score them; and the challenger's own rows.

    A champion that this release cannot load is not scored, or no other model could ever take its place.
    """
    models = {CHALLENGER: load_model(settings, model_uri).fitted}
    not_scored: tuple[str, ...] = ()
    if incumbent is not None:
        try:
            models[CHAMPION] = load_model(settings, f"models:/{incumbent.family}/{incumbent.version}").fitted
        except ModelOutdated as error:
            not_scored = (f"The challenger was not compared with the champion {incumbent}: {error}",)
    table = score_test_rows(models, dataset, staking)
    scored = scored_by_model([table])
    scores = ModelScores(dataset, scored[CHALLENGER], scored.get(CHAMPION), scored, not_scored)
    return scores, rows_of(table, CHALLENGER)


def _record(
    action: Action, reasons: list[str], challenger: EvaluatedModel, champion: ledger.LedgerEntry | None
) -> ChampionRecord:
    return ChampionRecord(
        as_of=challenger.as_of,
        action=action,
        reasons=reasons,
        challenger_family=challenger.family,
        challenger_version=challenger.version,
        champion_family=champion.family if champion else None,
        champion_version=champion.version if champion else None,
        champion_as_of=champion.as_of if champion else None,
    )
