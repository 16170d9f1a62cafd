"""`cleverbetter retrain`: the job of that name, for every family, in a Dagster run of this process."""

from rich.panel import Panel
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson, AsOfMonth
from cleverbetter_dagster.cli.output import print_json, result_console
from cleverbetter_dagster.settings import load_settings


def retrain(as_of: AsOfMonth = None, as_json: AsJson = False) -> None:
    """Tune, train, judge and promote every family as of one month, and predict with the champion.

    Splits as the champion's training did. Loads what changed before.
    """
    from cleverbetter_dagster.cli.models.launch import run_job
    from cleverbetter_dagster.cli.models.training_runs import request_of
    from cleverbetter_dagster.dataset.as_of import AsOf
    from cleverbetter_dagster.defs.jobs import RETRAIN, run_config
    from cleverbetter_dagster.defs.launches import Launch
    from cleverbetter_dagster.learning.catalogue import DEFAULT_FAMILY
    from cleverbetter_dagster.services.champion.renewal import stakes_line
    from cleverbetter_dagster.services.champion.training_plan import plan_training
    from cleverbetter_dagster.services.ingest.loading import months_with_rows, this_month
    from cleverbetter_dagster.services.records import ChampionRecord
    from cleverbetter_dagster.services.stored_assets import stored_record
    from cleverbetter_dagster.store.tracking.client import require_mlflow

    settings = load_settings()
    require_mlflow(settings)
    month = request_of(DEFAULT_FAMILY, as_of, [], None).month(months_with_rows(settings), this_month())
    plan = plan_training(settings, (), month)
    run_id = run_job(settings, Launch(RETRAIN, (), (month, month), {}, run_config(plan.spec)), quiet=as_json)
    decision, stakes = stored_record(settings, "champion", AsOf.parse(month), ChampionRecord), stakes_line(settings)
    if as_json:
        print_json({"run_id": run_id, "as_of": month, "decision": decision.model_dump(mode="json"), "stakes": stakes})
        return
    console, challenger = result_console(), f"{decision.challenger_family} v{decision.challenger_version}"
    reasons = "\n".join(f"• {reason}" for reason in decision.reasons)
    title = Text(f"{challenger} {decision.action}, as of {month}")
    console.print(Panel(Text(reasons), title=title, title_align="left"))
    console.print(Text(stakes))
    console.print(f"The leaderboard: cleverbetter compare --as-of {month}", highlight=False)
