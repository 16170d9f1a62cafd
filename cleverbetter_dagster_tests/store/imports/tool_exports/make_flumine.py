"""Orders of a flumine simulation, logged as its examples do: a line for each order of two strategies in five races.

Made with: pip install flumine==3.3.2 betfairlightweight==2.24.0; python make_flumine.py
The races are made up and written in the format of Betfair's stream. Runner 1 can be backed at 3.0 and laid at 3.1.
"""

import csv
import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"
RACES = {"2023-01-05": 1, "2023-01-12": 2, "2023-01-19": 1, "2023-02-02": 2, "2023-02-09": 2}
"""Day, at noon -> the winner."""

FIELDS = (
    "bet_id", "strategy_name", "market_id", "selection_id", "trade_id", "date_time_placed", "price", "price_matched",
    "size", "size_matched", "profit", "side", "elapsed_seconds_executable", "order_status", "market_note", "notes",
)  # fmt: skip


def main() -> None:
    from flumine import BaseStrategy, FlumineSimulation, clients
    from flumine.controls.loggingcontrols import LoggingControl
    from flumine.order.ordertype import LimitOrder
    from flumine.order.trade import Trade
    from flumine.streams.betfairhistoricalstream import BetfairHistoricalStream

    class Once(BaseStrategy):
        side, price = "BACK", 3.0

        def check_market_book(self, market: Any, market_book: Any) -> bool:
            return bool(market_book.status == "OPEN" and not market.context.get(self.name))

        def process_market_book(self, market: Any, market_book: Any) -> None:
            trade = Trade(market_book.market_id, 1, 0, self)
            order = trade.create_order(side=self.side, order_type=LimitOrder(self.price, 10.0))
            market.context[self.name] = market.place_order(order)

    class Lay(Once):
        side, price = "LAY", 3.1

    class OrderLog(LoggingControl):
        def _process_cleared_orders_meta(self, event: Any) -> None:
            with (FILES / "flumine_orders.txt").open("a", newline="") as file:
                for order in event.event:
                    values = (
                        order.bet_id, order.trade.strategy, order.market_id, order.selection_id, order.trade.id,
                        order.responses.date_time_placed, order.order_type.price, order.average_price_matched,
                        order.order_type.size, order.size_matched, order.simulated.profit, order.side,
                        order.elapsed_seconds_executable, order.status.value, order.trade.market_notes,
                        order.trade.notes_str,
                    )  # fmt: skip
                    csv.writer(file).writerow(values)

    with tempfile.TemporaryDirectory() as folder:
        markets = [str(_race(Path(folder), number, *race)) for number, race in enumerate(RACES.items(), 1)]
        with (FILES / "flumine_orders.txt").open("w", newline="") as file:
            csv.writer(file).writerow(FIELDS)
        simulation = FlumineSimulation(client=clients.SimulatedClient())
        simulation.add_logging_control(OrderLog())
        for name, strategy in (("back_first", Once), ("lay_first", Lay)):
            streams = [BetfairHistoricalStream(market) for market in markets]
            simulation.add_strategy(strategy(streams=streams, name=name, max_order_exposure=100))
        simulation.run()


def _race(folder: Path, number: int, day: str, winner: int) -> Path:
    """A market of two runners in Betfair's stream format: open for a minute, then settled."""
    market, off = f"1.10000000{number}", datetime.fromisoformat(f"{day}T12:00:00+00:00")

    def line(seconds: int, status: str, changes: list[dict[str, Any]] | None = None) -> str:
        closed = status == "CLOSED"
        states = {runner: ("WINNER" if runner == winner else "LOSER") if closed else "ACTIVE" for runner in (1, 2)}
        runners = [{"status": states[r], "sortPriority": r, "id": r, "adjustmentFactor": 50.0} for r in (1, 2)]
        definition = {
            "bspMarket": False, "turnInPlayEnabled": False, "persistenceEnabled": False, "marketBaseRate": 5.0,
            "eventId": "1", "eventTypeId": "4339", "numberOfWinners": 1, "bettingType": "ODDS", "marketType": "WIN",
            "marketTime": off.isoformat(), "suspendTime": off.isoformat(), "openDate": off.isoformat(),
            "bspReconciled": False, "complete": True, "inPlay": False, "crossMatching": False, "runnersVoidable": False,
            "numberOfActiveRunners": 2, "betDelay": 0, "status": status, "runners": runners, "regulators": ["None"],
            "discountAllowed": True, "timezone": "UTC", "version": 1, "name": "Race", "eventName": "Track",
            "venue": "Track", "countryCode": "GB",
        }  # fmt: skip
        change = {"id": market, "marketDefinition": definition, "rc": changes or [], "img": status == "OPEN"}
        moment = int((off + timedelta(seconds=seconds)).timestamp() * 1000)
        return json.dumps({"op": "mcm", "clk": str(seconds), "pt": moment, "mc": [change]})

    prices = [{"id": runner, "atb": [[3.0, 1000.0]], "atl": [[3.1, 1000.0]], "trd": []} for runner in (1, 2)]
    lines = [line(seconds, "OPEN", prices) for seconds in (-60, -50, -40, -30)]
    (path := folder / market).write_text("\n".join([*lines, line(60, "CLOSED")]) + "\n")
    return path


if __name__ == "__main__":
    main()
