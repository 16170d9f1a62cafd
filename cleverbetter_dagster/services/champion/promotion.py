"""Who is champion: the challenger of an as_of against the champion of that time, and what the ledger records of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.evaluation.gate import PromotionPolicy, Verdict, judge
from cleverbetter_dagster.evaluation.staking_comparison import StakingVerdict
from cleverbetter_dagster.learning.baselines import BASELINES
from cleverbetter_dagster.services.checks import broken_guards
from cleverbetter_dagster.services.evaluation.checks import MODEL_RULES
from cleverbetter_dagster.services.evaluation.evaluate import score_test_rows
from cleverbetter_dagster.services.evaluation.scored_table import scored_by_model
from cleverbetter_dagster.services.evaluation.stakes import judge_staking, rows_of
from cleverbetter_dagster.services.records import Action, ChampionRecord, ComparisonRecord, EvaluatedModel
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.fit import Lineage
from cleverbetter_dagster.services.training.split_checks import SPLIT_RULES
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.tracking.package import load_model
from cleverbetter_dagster.store.tracking.registry import Registry

ACTOR = "asset champion"
CHALLENGER, CHAMPION = "challenger", "champion"


@dataclass(frozen=True)
class Decision:
    """What was decided, and the verdict it rests on (None where the challenger is the champion already)."""

    record: ChampionRecord
    verdict: Verdict | None


def decide(
    settings: Settings,
    comparison: ComparisonRecord,
    dataset: Dataset,
    policy: PromotionPolicy,
    lineage: Lineage | None = None,
) -> Decision:
    """Judge the challenger of an as_of and promote it, or record why not.

    It is refused where a check that guards training or promotion does not hold, of it or of another family, looked
    into anew, so that starting `champion` alone gets round none of them. It is judged against the champion that stood
    at its as_of, both scored anew on the challenger's test rows, which both have in their future: the champion's as_of
    is no later, and splits only move forward.
    """
    challenger = comparison.models[comparison.challenger]
    standing = ledger.champion_at(settings, comparison.as_of)
    if standing is not None and standing.model == (challenger.family, challenger.version):
        ledger.reconcile(settings, Registry(settings))  # a crash may have come between the ledger and the alias
        return Decision(_record("kept", ["It is the champion already."], challenger, standing), None)
    verdicts = comparison.staking_verdicts(comparison.challenger)
    verdict = judge_anew(settings, challenger.model_uri, standing, dataset, policy, verdicts)
    others = [family for family in comparison.broken_guards if family != comparison.challenger]
    verdict = _unless(verdict, [f"{name}: {told}" for name in others for told in comparison.broken_guards[name]])
    decision = ledger.Decision(
        family=challenger.family,
        version=challenger.version,
        run_id=challenger.run_id,
        as_of=comparison.as_of,
        reason=" ".join(verdict.reasons),
        actor=ACTOR,
        evidence=verdict.model_dump(mode="json"),
        dagster_run_id=lineage.dagster_run_id if lineage else None,
    )
    if verdict.promote:
        entry = ledger.promote(settings, Registry(settings), decision, standing)
    else:
        entry = ledger.refuse(settings, decision)
    reasons = list(verdict.reasons) if entry.reason == decision.reason else [entry.reason]
    champion = ledger.champion_at(settings, comparison.as_of)
    action: Action = "promoted" if entry.action == "promoted" else "refused"
    return Decision(_record(action, reasons, challenger, champion), verdict)


def judge_anew(
    settings: Settings,
    model_uri: str,
    standing: ledger.LedgerEntry | None,
    dataset: Dataset,
    policy: PromotionPolicy,
    staking: Sequence[StakingVerdict] | None = None,
) -> Verdict:
    """The gate's verdict on a model, scored beside `standing` and every baseline on the test rows of `dataset`.

    Args:
        staking: verdicts on the stakes it places by itself, if it does; None judges them here.
    """
    models = {CHALLENGER: load_model(settings, model_uri).fitted}
    if standing is not None:
        models[CHAMPION] = load_model(settings, f"models:/{standing.family}/{standing.version}").fitted
    table = score_test_rows(models, dataset, StakingSpec())
    scored = scored_by_model([table])
    baselines = {name: scored[name] for name in BASELINES}
    if staking is None:
        own = rows_of(table, CHALLENGER)
        staking = [found] if (found := judge_staking(own, own, StakingSpec())) else []
    verdict = judge(scored[CHALLENGER], scored.get(CHAMPION), baselines, policy, staking)
    return _unless(verdict, [*broken_guards(SPLIT_RULES, dataset), *broken_guards(MODEL_RULES, scored[CHALLENGER])])


def _unless(verdict: Verdict, broken: Sequence[str]) -> Verdict:
    """The verdict, but a refusal where any guard is broken."""
    if not broken:
        return verdict
    return verdict.model_copy(update={"promote": False, "reasons": (*broken, *verdict.reasons)})


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
