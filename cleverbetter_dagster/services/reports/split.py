"""What the report on the rows of one as_of says: whether models may be made from them, and what stands against it."""

from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.splits import PARTS, PartSummary
from cleverbetter_dagster.evaluation.checks import CheckOutcome
from cleverbetter_dagster.evaluation.report.view import Number, Report, Section, Table
from cleverbetter_dagster.evaluation.texts import percent, sentence_list
from cleverbetter_dagster.services.checks import Check, failure_message
from cleverbetter_dagster.services.reports.parts import split_provenance
from cleverbetter_dagster.services.training.datasets import Dataset
from cleverbetter_dagster.services.training.split_checks import SPLIT_CHECKS

Found = tuple[Check[Dataset], CheckOutcome]


def split_report(dataset: Dataset) -> Report:
    """The report on a split. It is there as well where a check stops all training: then there is no other."""
    record = dataset.record
    found = [(check, check.run(dataset)) for check in SPLIT_CHECKS]
    failed = [(check, outcome) for check, outcome in found if not outcome.passed]
    broken = [(check, outcome) for check, outcome in failed if check.guards]
    warned = [(check, outcome) for check, outcome in failed if not check.guards]
    return Report(
        title="Rows and split",
        subtitle=f"As of {record.as_of}",
        verdict="Blocked" if broken else "Sound",
        tone="bad" if broken else "good",
        summary=_summary(dataset, broken, warned),
        reasons=tuple(failure_message(check, outcome) for check, outcome in [*broken, *warned]),
        sections=(_rows(dataset), _checks(found)),
        provenance=split_provenance(record),
    )


def _summary(dataset: Dataset, broken: list[Found], warned: list[Found]) -> str:
    as_of, examples = dataset.record.as_of, f"{dataset.record.split.usable_rows:,} examples"
    besides = f" Besides, {sentence_list([check.name for check, _ in warned])} did not hold." if warned else ""
    if broken:
        names = sentence_list([check.name for check, _ in broken])
        return (
            f"No model is trained, judged or promoted as of {as_of}: {names} did not hold of its {examples}. The "
            f"champion that stands goes on.{besides}"
        )
    return f"Models may be trained as of {as_of}: every check that guards training holds of its {examples}.{besides}"


def _rows(dataset: Dataset) -> Section:
    split = dataset.record.split
    lines = tuple(_part_line(name, getattr(split, name)) for name in PARTS)
    return Section(
        "The rows",
        "Cut by decision time. Purged rows have a label that reaches into the part after theirs.",
        numbers=(
            Number("Rows", f"{dataset.record.rows:,}", "known by the end of the month"),
            Number("Examples", f"{split.usable_rows:,}", f"{dataset.record.spec.min_examples:,} are needed"),
            Number("Below the quality filter", f"{split.filtered_rows:,}", "or before the window of history"),
            Number("Not labelled yet", f"{split.unlabelled_rows:,}", "their next window has not ended"),
        ),
        tables=(Table("Parts", ("part", "examples", "purged", "profitable", "first decided", "last decided"), lines),),
    )


def _part_line(name: str, part: PartSummary) -> tuple[str, ...]:
    share = percent(part.positives / part.rows)
    decided = (AsOf.of(time).key for time in (part.first_decision, part.last_decision))
    return (name, f"{part.rows:,}", f"{part.purged:,}", share, *decided)


def _checks(found: list[Found]) -> Section:
    lines = tuple(
        (f"{check.name}: {outcome.message}", "yes" if outcome.passed else "no", "yes" if check.guards else "no")
        for check, outcome in found
    )
    return Section("What was checked", tables=(Table("Checks", ("what was found", "holds", "guards training"), lines),))
