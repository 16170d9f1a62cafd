"""The units of a file of backtest rows: what the person who imports it says of them, and what its rows say."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

import pyarrow as pa

from cleverbetter_dagster.dataset.quality.unit_evidence import Doubt
from cleverbetter_dagster.dataset.quality.units import NEGATED, PERCENT
from cleverbetter_dagster.dataset.schema import ALIASES, MAX_DRAWDOWN, ROI, WIN_RATE
from cleverbetter_dagster.errors import RowsRefused
from cleverbetter_dagster.store.imports.intake import ResultIntake

FRACTIONS = (ROI, WIN_RATE, MAX_DRAWDOWN)
"""The columns that exporters write in per cent."""

PERCENT_NAMES = tuple(chain.from_iterable(ALIASES.get(name, (name,)) for name in FRACTIONS))
"""Names of these columns that a person may type."""

SMALLEST_LARGEST_WIN_RATE = 0.01
"""If no win rate of a file is above it once divided by 100, it was a fraction before."""


@dataclass(frozen=True)
class FileUnits:
    """In which units a file is, as the person who imports it says.

    Attributes:
        percent: its columns in per cent are to be recognised and divided by 100.
        percent_columns: these columns, some of `PERCENT_NAMES`, are divided by 100 in any case.
        negative_drawdown: its drawdowns have a minus sign.
    """

    percent: bool = False
    percent_columns: tuple[str, ...] = ()
    negative_drawdown: bool = False

    def factors(self, intake: ResultIntake, tables: Iterable[pa.Table], path: str) -> dict[str, Decimal]:
        """The file's name of each column that has to be converted, and its factor.

        Args:
            tables: the rows of the file, which are read only if the columns in per cent have to be recognised.

        Raises:
            RowsRefused: it cannot be recognised which columns are in per cent.
        """
        canonical = {alias: name for name in FRACTIONS for alias in ALIASES.get(name, (name,))}
        columns = {canonical[name] for name in self.percent_columns}
        if self.percent:
            for table in tables:
                intake.prepare(table)
            columns.update(_in_percent(path, intake))
        factors = {intake.file_names[name]: PERCENT for name in FRACTIONS if name in columns}
        if self.negative_drawdown:
            name = intake.file_names[MAX_DRAWDOWN]
            factors[name] = factors.get(name, Decimal(1)) * NEGATED
        return factors


def refuse_other_units(path: str, intake: ResultIntake, converted: Collection[str]) -> None:
    """Refuse a file whose rows, read to its end, are not in canonical units.

    Args:
        intake: it has prepared all rows, after conversion.
        converted: the file's names of the columns that were converted.

    Raises:
        RowsRefused: with the columns, how many rows say so, an example, and the remedy.
    """
    evidence, file_names = intake.evidence, intake.file_names
    doubts = evidence.doubts()
    lines = [f"  {file_names[doubt.column]} {_finding(doubt)}" for doubt in doubts]
    if file_names[WIN_RATE] in converted and 0 < evidence.largest_win_rate <= SMALLEST_LARGEST_WIN_RATE:
        lines.append(
            f"  {file_names[WIN_RATE]} was a fraction already: none is above {evidence.largest_win_rate:g} now"
        )
    if not lines:
        return
    after = f" once {', '.join(sorted(converted))} had been converted" if converted else ""
    remedies = [] if converted else _remedies(doubts, file_names)
    raise RowsRefused(
        f"{path} was not imported, since it is in other units than the rows{after}:\n"
        + "\n".join([*lines, *remedies, "Nothing of the file was loaded, and nothing of it is in quarantine."])
    )


def _in_percent(path: str, intake: ResultIntake) -> list[str]:
    """The columns that are in per cent: those that show it, and the undecided ones if no column is a fraction."""
    evidence = intake.evidence
    shown = [doubt.column for doubt in evidence.doubts() if doubt.unit == "per cent"]
    fractions = [name for name in evidence.known_fractions() if name not in shown]
    undecided = [name for name in FRACTIONS if name not in shown and name not in fractions]
    if not fractions:
        return [*shown, *undecided]
    if shown and ROI not in undecided:
        return shown
    known, either = (", ".join(intake.file_names[name] for name in names) for names in (fractions, undecided))
    raise RowsRefused(
        f"--percent cannot tell which columns of {path} are in per cent. Fractions: {known}; may be either: "
        f"{either or 'none'}. Name those in per cent with --percent-column, or leave --percent out. Nothing was "
        "imported."
    )


def _finding(doubt: Doubt) -> str:
    unit = {"per cent": "is in per cent", "negative": "has a minus sign", "something else": "is something else"}
    return f"{unit[doubt.unit]}: {doubt.wrong:,} of {doubt.judged:,} rows {doubt.basis}, such as {doubt.example}"


def _remedies(doubts: list[Doubt], file_names: Mapping[str, str]) -> list[str]:
    options = [f"--percent-column {file_names[doubt.column]}" for doubt in doubts if doubt.unit == "per cent"]
    options += ["--negative-drawdown" for doubt in doubts if doubt.unit == "negative"]
    lines = []
    if options:
        lines.append(
            f"Import it with {' '.join(dict.fromkeys(options))}, which converts it (--percent: every column in per "
            "cent); or write fractions without a minus sign, 0.05 for 5 %."
        )
    if any(doubt.unit == "something else" for doubt in doubts):
        lines.append(
            "The return is final_capital / initial_capital - 1, a fraction. Write that, or leave out the two capitals "
            "if they are of something else."
        )
    return lines
