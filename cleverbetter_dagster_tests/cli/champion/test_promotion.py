"""`cleverbetter promote`, `rollback`, `history`: by hand, with a reason, and never two champions."""

import json
import subprocess
from pathlib import Path

import pytest

from cleverbetter_dagster.errors import (
    GateRefused,
    InvalidInput,
    ModelNotFound,
    ModelTampered,
    NotStored,
    RegistryError,
)
from cleverbetter_dagster.evaluation.gate import Verdict
from cleverbetter_dagster.services.champion import manual_promotion
from cleverbetter_dagster.services.champion.manual_promotion import (
    DecisionContext,
    plan_rollback,
    promote,
    review,
    roll_back,
)
from cleverbetter_dagster.settings import Settings
from cleverbetter_dagster.store.ledger import ledger
from cleverbetter_dagster.store.ledger.ledger import Decision
from cleverbetter_dagster.store.tracking.plain_files import TREE
from cleverbetter_dagster.store.tracking.registry import Registry
from cleverbetter_dagster_tests.cli.conftest import COMMAND, Command, environment_of, registered
from cleverbetter_dagster_tests.store.tracking.test_registry import holders

OVERRIDE = DecisionContext("I know better", "a test", override_gate=True)


def verdict(promote: bool) -> Verdict:
    reason = "beats every baseline" if promote else "not shown to beat persistence"
    return Verdict(promote=promote, reasons=(reason,), comparisons=(), n_rows=100, n_months=7)


def judged(settings: Settings, version: int, as_of: str, promote: bool) -> ledger.LedgerEntry:
    """What the asset `champion` records of a model it judged."""
    judgement = verdict(promote)
    run_id = Registry(settings).get_version("ensemble", version).run_id
    decision = Decision(
        "ensemble", version, run_id, as_of, judgement.reasons[0], "asset", judgement.model_dump(mode="json")
    )
    if promote:
        return ledger.promote(settings, Registry(settings), decision, ledger.champion_at(settings, as_of))
    return ledger.refuse(settings, decision)


def by_override(settings: Settings, version: int) -> ledger.LedgerEntry:
    return promote(settings, review(settings, "ensemble", version, judge=False), OVERRIDE)


def test_a_refusal_in_the_ledger_holds_until_overridden(empty_registry: Settings) -> None:
    version = registered(empty_registry, "2023-06")
    judged(empty_registry, version, "2023-06", promote=False)
    reviewed = review(empty_registry, "ensemble", version)
    assert (reviewed.source, reviewed.passes) == ("ledger", False)
    with pytest.raises(GateRefused, match="not shown to beat persistence"):
        promote(empty_registry, reviewed, DecisionContext("please", "a test"))
    assert ledger.champion(empty_registry) is None
    assert len(ledger.history(empty_registry)) == 1
    entry = promote(empty_registry, reviewed, OVERRIDE)
    assert (entry.action, entry.reason, entry.actor) == ("promoted", "I know better", "a test")
    assert entry.evidence["gate"]["overridden"] is True
    assert entry.evidence["gate"]["verdict"]["reasons"] == ["not shown to beat persistence"]
    assert manual_promotion.is_overridden(entry)
    assert holders(empty_registry) == [("ensemble", version)]


def test_a_version_promoted_before_returns_without_an_override(empty_registry: Settings) -> None:
    one = registered(empty_registry, "2023-05")
    two = registered(empty_registry, "2023-06")
    judged(empty_registry, one, "2023-05", promote=True)
    judged(empty_registry, two, "2023-06", promote=True)
    roll_back(empty_registry, plan_rollback(empty_registry), DecisionContext("looked wrong", "a test"))
    reviewed = review(empty_registry, "ensemble", two)
    assert (reviewed.source, reviewed.passes) == ("ledger", True)
    entry = promote(empty_registry, reviewed, DecisionContext("it was right after all", "a test"))
    assert not manual_promotion.is_overridden(entry)
    assert holders(empty_registry) == [("ensemble", two)]


def test_a_verdict_against_a_champion_of_yesterday_is_not_used(empty_registry: Settings) -> None:
    one, two = registered(empty_registry, "2023-06"), registered(empty_registry, "2023-06")
    judged(empty_registry, two, "2023-06", promote=False)
    by_override(empty_registry, one)
    reviewed = review(empty_registry, "ensemble", two)
    assert (reviewed.source, reviewed.verdict) == ("none", None)
    assert "split.json" in str(reviewed.trouble)
    with pytest.raises(GateRefused, match="cannot be judged"):
        promote(empty_registry, reviewed, DecisionContext("please", "a test"))


def test_a_refusal_that_came_too_late_is_no_verdict(empty_registry: Settings) -> None:
    one, two = registered(empty_registry, "2023-06"), registered(empty_registry, "2023-06")
    reviewed = review(empty_registry, "ensemble", two, judge=False)
    by_override(empty_registry, one)
    with pytest.raises(GateRefused, match="judged against none, but ensemble v1 is champion"):
        promote(empty_registry, reviewed, OVERRIDE)
    assert review(empty_registry, "ensemble", two).source == "none"
    assert holders(empty_registry) == [("ensemble", one)]


def test_promoting_the_champion_adds_nothing_and_puts_mlflow_right(empty_registry: Settings) -> None:
    version = registered(empty_registry, "2023-06")
    first = by_override(empty_registry, version)
    Registry(empty_registry)._client.delete_registered_model_alias("ensemble", "champion")
    assert by_override(empty_registry, version) == first
    assert len(ledger.history(empty_registry)) == 1
    assert holders(empty_registry) == [("ensemble", version)]


def test_a_rollback_after_an_override_returns_to_the_former_champion(empty_registry: Settings) -> None:
    one, two = registered(empty_registry, "2023-05"), registered(empty_registry, "2023-06")
    judged(empty_registry, one, "2023-05", promote=True)
    by_override(empty_registry, two)
    plan = plan_rollback(empty_registry)
    assert (plan.champion.version, plan.target.version) == (two, one)
    entry = roll_back(empty_registry, plan, DecisionContext("stakes looked wrong", "a test"))
    assert (entry.action, entry.version, entry.previous) == ("rolled_back", one, ("ensemble", two))
    assert holders(empty_registry) == [("ensemble", one)]
    with pytest.raises(NotStored, match="no predecessor"):
        plan_rollback(empty_registry)


def test_what_cannot_be_returned_to_is_named(empty_registry: Settings) -> None:
    with pytest.raises(NotStored, match="nothing was ever promoted"):
        plan_rollback(empty_registry)
    by_override(empty_registry, registered(empty_registry, "2023-05"))
    registered(empty_registry, "2023-06")
    with pytest.raises(NotStored, match="ensemble v2 was never promoted"):
        plan_rollback(empty_registry, ("ensemble", 2))
    with pytest.raises(RegistryError, match="the champion is ensemble v1"):
        roll_back(empty_registry, plan_rollback(empty_registry, ("ensemble", 1)), DecisionContext("x", "a test"))


def test_a_model_with_changed_files_cannot_become_champion(empty_registry: Settings) -> None:
    one, two = registered(empty_registry, "2023-05"), registered(empty_registry, "2023-06")
    by_override(empty_registry, one)
    by_override(empty_registry, two)
    run = Registry(empty_registry)._client.get_run(Registry(empty_registry).get_version("ensemble", one).run_id)
    assert run.outputs is not None
    logged = Registry(empty_registry)._client.get_logged_model(run.outputs.model_outputs[0].model_id)
    package = Path(logged.artifact_location.removeprefix("file://"))
    (file,) = package.rglob(TREE)
    file.write_bytes(b"changed")
    with pytest.raises(ModelTampered):
        plan_rollback(empty_registry)
    with pytest.raises(ModelTampered):
        review(empty_registry, "ensemble", one)
    assert holders(empty_registry) == [("ensemble", two)]


def test_a_decision_without_a_reason_or_a_model_is_refused(empty_registry: Settings) -> None:
    with pytest.raises(InvalidInput, match="blank"):
        DecisionContext("  ", "a test")
    with pytest.raises(ModelNotFound, match="no version 9"):
        review(empty_registry, "ensemble", 9)
    with pytest.raises(ModelNotFound, match="no version 1"):
        review(empty_registry, "x' OR name != '", 1)


def test_the_gate_binds_in_a_notebook_as_in_a_command(empty_registry: Settings) -> None:
    one, two = registered(empty_registry, "2023-05"), registered(empty_registry, "2023-06")
    with pytest.raises(GateRefused, match="cannot be judged"):  # nobody judged it, and its split is not known
        manual_promotion.promote_by_hand(empty_registry, ("ensemble", one), "first", "notebook")
    assert ledger.history(empty_registry) == []
    entry = manual_promotion.promote_by_hand(empty_registry, ("ensemble", one), "first", "notebook", override=True)
    assert manual_promotion.is_overridden(entry)
    judged(empty_registry, two, "2023-06", promote=False)
    with pytest.raises(GateRefused, match="not shown to beat persistence"):
        manual_promotion.promote_by_hand(empty_registry, ("ensemble", two), "please", "notebook")
    back = manual_promotion.promote_by_hand(empty_registry, ("ensemble", two), "please", "notebook", override=True)
    assert back.model == ("ensemble", two)
    assert manual_promotion.roll_back_by_hand(empty_registry, "wrong", "notebook").model == ("ensemble", one)


def test_the_reigns_are_who_was_champion_when(empty_registry: Settings) -> None:
    one, two = registered(empty_registry, "2023-04"), registered(empty_registry, "2023-06")
    late = registered(empty_registry, "2023-05")
    for version in (one, two, late):  # `late` stands at an earlier month than `two`, and never tenures
        by_override(empty_registry, version)
    roll_back(empty_registry, plan_rollback(empty_registry, ("ensemble", one)), DecisionContext("back", "a test"))
    tenures = ledger.tenures(empty_registry)
    assert [tenure.entry.version for tenure in tenures] == [one, two, one]
    assert [tenure.until for tenure in tenures] == [tenures[1].since, tenures[2].since, None]
    assert tenures[2].entry == ledger.champion(empty_registry)
    decided = [entry.decided_at for entry in reversed(ledger.history(empty_registry))]
    assert [tenure.since for tenure in tenures] == [decided[0], decided[1], decided[3]]


def test_two_promotions_at_once_in_two_processes_leave_one_champion(empty_registry: Settings, tmp_path: Path) -> None:
    for family in ("ensemble", "classifier"):
        registered(empty_registry, "2023-06", family)
    processes = [
        subprocess.Popen(
            [*COMMAND, "promote", family, "1", "--reason", "race", "--override-gate", "--yes", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment_of(empty_registry),
        )
        for family in ("ensemble", "classifier")
    ]
    answers = [process.communicate(timeout=120) for process in processes]
    champion = ledger.champion(empty_registry)
    assert champion is not None
    assert holders(empty_registry) == [champion.model], answers
    promoted = [json.loads(out)["decision"]["family"] for out, _ in answers if out]
    assert champion.family in promoted
    codes = [process.returncode for process in processes]
    # Either the second saw the first and took its place, or it had looked before and was refused.
    assert sorted(codes) in ([0, 0], [0, 3]), answers
    actions = sorted(entry.action for entry in ledger.history(empty_registry))
    assert actions == (["promoted", "promoted"] if codes == [0, 0] else ["promoted", "refused"])


def test_the_commands_ask_and_exit_as_documented(empty_registry: Settings, command: Command) -> None:
    one, two = registered(empty_registry, "2023-05"), registered(empty_registry, "2023-06")
    judged(empty_registry, one, "2023-05", promote=True)
    judged(empty_registry, two, "2023-06", promote=False)
    refused = command("promote", "ensemble", str(two), "--reason", "please")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "not shown to beat persistence" in refused.stderr
    assert "--override-gate" in refused.stderr
    override = ("promote", "ensemble", str(two), "--reason", "[/] 'x'; DROP TABLE promotions", "--override-gate")
    declined = command(*override, answer="n\n")
    assert (declined.returncode, "AGAINST THE GATE" in declined.stderr) == (3, True)
    assert command(*override).returncode == 3  # nobody to ask
    assert holders(empty_registry) == [("ensemble", one)]
    done = command(*override, answer="y\n")
    assert (done.returncode, "ensemble v2 was promoted" in done.stdout) == (0, True), done
    back = command("rollback", "--reason", "wrong", "--yes", "--json")
    assert json.loads(back.stdout)["champion"]["version"] == one
    shown = command("history")
    assert shown.returncode == 0
    assert "promoted, gate overridden" in shown.stdout
    assert "[/] 'x'; DROP TABLE promotions" in " ".join(shown.stdout.split())
    history = json.loads(command("history", "--json").stdout)
    assert [(tenure["version"], tenure["gate_overridden"]) for tenure in history["champions"]] == [
        (one, False),
        (two, True),
        (one, False),
    ]
    assert [entry["action"] for entry in history["decisions"]] == ["rolled_back", "promoted", "refused", "promoted"]
    unknown = command("promote", "ensemble", "9", "--reason", "x", "--yes")
    assert (unknown.returncode, "no version 9" in unknown.stderr) == (4, True)


def test_before_the_first_champion_history_says_so(command: Command) -> None:
    shown = command("history")
    assert (shown.returncode, "No model was champion yet" in shown.stdout) == (0, True)


def test_history_shows_a_ledger_of_refusals_only(empty_registry: Settings, command: Command) -> None:
    judged(empty_registry, registered(empty_registry, "2023-06"), "2023-06", promote=False)
    shown = command("history")
    assert (shown.returncode, "`cleverbetter history --decisions` lists refusals" in shown.stdout) == (0, True)
    assert "not shown to beat persistence" in command("history", "--decisions").stdout
    history = json.loads(command("history", "--json").stdout)
    assert (history["champions"], [entry["action"] for entry in history["decisions"]]) == ([], ["refused"])
