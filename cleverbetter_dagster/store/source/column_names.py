"""Other names of the canonical columns, to say which column of a table or file is probably meant."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from cleverbetter_dagster.dataset.schema import (
    ALIASES,
    COMPOSITE_SCORE,
    END_DATE,
    FINAL_CAPITAL,
    ID,
    INITIAL_CAPITAL,
    MAX_DRAWDOWN,
    OPTIONAL,
    PROFIT_FACTOR,
    REQUIRED,
    ROI,
    RUN_DATE,
    SHARPE_RATIO,
    START_DATE,
    STRATEGY,
    TOTAL_BETS,
    WIN_RATE,
)

CANONICAL = tuple(name for column in (*REQUIRED, *OPTIONAL) for name in ALIASES.get(column, (column,)))
"""Every name that a column of backtest rows may have."""

SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ID: ("backtest id", "result id", "row id", "uuid"),
        STRATEGY: ("strategy", "_strategy", "strategy name", "bettor", "system"),
        RUN_DATE: ("run at", "run time", "run timestamp", "executed at", "backtest_run_start_ts"),
        START_DATE: ("start", "from", "begin", "date from", "window start", "backtest start", "testing start"),
        END_DATE: ("end", "to", "until", "date to", "window end", "backtest end", "testing end"),
        SHARPE_RATIO: ("sharpe",),
        ROI: ("return", "return pct", "net return", "cumulative return", "profit_total", "ROI percentage"),
        MAX_DRAWDOWN: ("drawdown", "max dd", "mdd", "max_drawdown_account", "maximum drawdown"),
        WIN_RATE: ("win pct", "win ratio", "hit rate", "strike rate", "percent profitable"),
        PROFIT_FACTOR: ("pf",),
        TOTAL_BETS: ("bets", "# trades", "trades", "total trades", "number of trades", "number of bets", "num bets"),
        COMPOSITE_SCORE: ("composite", "score"),
        INITIAL_CAPITAL: ("start value", "starting balance", "starting capital", "initial cash", "init cash"),
        FINAL_CAPITAL: ("end value", "final balance", "final cash", "ending capital", "equity final"),
    }
)
"""What betting and trading tools call a column; compared by `_plain`."""


def likely_partners(column: str, available: Iterable[str]) -> list[str]:
    """The available names that probably mean a canonical column, the likeliest first; names of other columns never do.

    >>> likely_partners("max_drawdown", ["Avg. Drawdown [%]", "Max. Drawdown [%]", "win_rate"])
    ['Max. Drawdown [%]']
    >>> likely_partners("end_date", ["start_date", "ended_date"])
    ['ended_date']
    """
    own = ALIASES.get(column, (column,))
    free = {name: _plain(name) for name in available if name not in CANONICAL}
    wanted = [_plain(name) for name in (*own, *SYNONYMS.get(column, ()))]
    same = sorted((wanted.index(plain), name) for name, plain in free.items() if plain in wanted)
    if same:
        return [name for _, name in same]
    plain_names = {plain: name for name, plain in free.items()}
    close = (match for name in own for match in get_close_matches(_plain(name), plain_names, n=2, cutoff=0.7))
    return [plain_names[plain] for plain in dict.fromkeys(close)]


def missing_columns(missing: Sequence[str], available: Sequence[str]) -> str:
    """One line for each column with a likely partner, and one for those without; each line begins with a line break.

    >>> print(missing_columns(["win_rate", "roi", "id"], ["Win Rate [%]", "Return [%]"]))
    <BLANKLINE>
      win_rate: probably 'Win Rate [%]'
      roi or total_return: probably 'Return [%]'
      id: no column is like it
    """
    likely = {column: likely_partners(column, available) for column in missing}
    lines = [f"  {shown(c)}: probably {' or '.join(map(repr, names))}" for c, names in likely.items() if names]
    unlike = [shown(column) for column, names in likely.items() if not names]
    if unlike:
        lines.append(f"  {', '.join(unlike)}: no column is like {'them' if len(unlike) > 1 else 'it'}")
    return "".join(f"\n{line}" for line in lines)


def shown(column: str) -> str:
    """A canonical column by the names that a source may use."""
    return " or ".join(ALIASES.get(column, (column,)))


def _plain(name: str) -> str:
    """A name without unit in brackets, case and punctuation: 'Max. Drawdown [%]' is 'maxdrawdown'."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\[.*?\]|%", "", name.lower()))
