"""The report on the rows of one as_of: may models be trained on them, and which checks failed?"""

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.quality.left_out import SHOWN, LeftOut
from cleverbetter_dagster.dataset.splits import PARTS, PartSummary
from cleverbetter_dagster.evaluation.checks import Check, CheckOutcome, failure_message
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table
from cleverbetter_dagster.evaluation.texts import percent, sentence_list
from cleverbetter_dagster.services.reports.parts import split_provenance
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.split_checks import SPLIT_CHECKS

CheckResult = tuple[Check[Dataset], CheckOutcome]


def split_report(dataset: Dataset) -> Report:
    """The report on a split. It is made even if a check stops all training: then there is no other report."""
    record = dataset.record
    results = [(check, check.run(dataset)) for check in SPLIT_CHECKS]
    failed = [(check, outcome) for check, outcome in results if not outcome.passed]
    broken = [(check, outcome) for check, outcome in failed if check.guards]
    warnings = [(check, outcome) for check, outcome in failed if not check.guards]
    return Report(
        title="Rows and split",
        subtitle=f"As of {record.as_of}",
        headline="Blocked" if broken else "Sound",
        tone="bad" if broken else "good",
        summary=_summary(dataset, broken, warnings),
        reasons=tuple(failure_message(check, outcome) for check, outcome in [*broken, *warnings]),
        sections=(_rows(dataset), *_left_out(record.left_out), _checks(results)),
        provenance=split_provenance(record),
    )


def _summary(dataset: Dataset, broken: list[CheckResult], warnings: list[CheckResult]) -> str:
    as_of, examples = dataset.record.as_of, f"{dataset.record.split.usable_rows:,} examples"
    also = f" Also failed, as a warning: {_names(warnings)}." if warnings else ""
    if broken:
        return (
            f"No model is trained, judged or promoted as of {as_of}: {_names(broken)} failed for its {examples}. The "
            f"champion stays.{also}"
        )
    return f"Models may be trained as of {as_of}: its {examples} pass every check that guards training.{also}"


def _names(results: list[CheckResult]) -> str:
    return sentence_list([check.name for check, _ in results])


def _rows(dataset: Dataset) -> Section:
    split = dataset.record.split
    lines = tuple(_part_line(name, getattr(split, name)) for name in PARTS)
    return Section(
        "The rows",
        "Split by decision time. The label of a purged row reaches into the next part.",
        numbers=(
            Number("Rows", f"{dataset.record.rows:,}", "known by the end of the month"),
            Number("Examples", f"{split.usable_rows:,}", f"{dataset.record.spec.min_examples:,} are needed"),
            Number("Below the quality filter", f"{split.filtered_rows:,}", "or before the window of history"),
            Number("Not labelled yet", f"{split.unlabelled_rows:,}", "their next window has not ended"),
        ),
        tables=(Table("Parts", ("part", "examples", "purged", "profitable", "first decided", "last decided"), lines),),
    )


def _left_out(left_out: LeftOut) -> tuple[Section, ...]:
    if not left_out:
        return ()
    counts = sorted(left_out.non_numeric.items(), key=lambda item: (-item[1].values, item[0]))[:SHOWN]
    lines = tuple((name, f"{count.values:,}", count.example) for name, count in counts)
    columns = ("feature", "values that are no numbers", "such as")
    text = f"A value that is no number is missing in its row; the row stays. {left_out}."
    return (Section("Market features left out", text, tables=(Table("Left out", columns, lines),) if lines else ()),)


def _part_line(name: str, part: PartSummary) -> tuple[str, ...]:
    share = percent(part.positives / part.rows)
    decided = (AsOf.of(time).key for time in (part.first_decision, part.last_decision))
    return (name, f"{part.rows:,}", f"{part.purged:,}", share, *decided)


def _checks(results: list[CheckResult]) -> Section:
    lines = tuple(
        (f"{check.name}: {outcome.message}", "yes" if outcome.passed else "no", "yes" if check.guards else "no")
        for check, outcome in results
    )
    return Section("The checks", tables=(Table("Checks", ("check", "passed", "guards training"), lines),))
