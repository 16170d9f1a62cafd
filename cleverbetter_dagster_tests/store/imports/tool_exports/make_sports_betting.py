"""The backtest of a bettor by sports-betting, on the sample data that it brings.

Made with: pip install sports-betting==0.15.1; python make_sports_betting.py
"""

from pathlib import Path

FILES = Path(__file__).parent / "files"


def main() -> None:
    import pandas as pd
    from sklearn.model_selection import TimeSeriesSplit
    from sportsbet.dataloaders import DataLoader
    from sportsbet.evaluation import OddsComparisonBettor, backtest
    from sportsbet.sources import SampleSoccerOdds, SampleSoccerStats

    loader = DataLoader(param_grid={"league": ["England"]}, stats=SampleSoccerStats(), odds=SampleSoccerOdds())
    x, y, odds = loader.extract_train_data(odds_type="market_average")
    bettor = OddsComparisonBettor(betting_markets=["home_win", "draw", "away_win"])
    results = backtest(bettor, x, y, odds, cv=TimeSeriesSplit(3), n_jobs=1)
    results.to_csv(FILES / "sports_betting.csv")

    last = odds[odds.index >= "2024-05-01"].index
    x, y, odds = x.loc[last], y.loc[last], odds.loc[last]
    stakes = bettor.bet(x, odds) * bettor.stake_
    profits = (y[bettor.feature_names_out_].to_numpy() * odds[bettor.feature_names_odds_].to_numpy() - 1) * stakes
    bets = pd.DataFrame({"placed": x.index.repeat(stakes.shape[1]), "profit": profits.ravel(), "stake": stakes.ravel()})
    bets[bets["stake"] > 0].to_csv(FILES / "sports_betting_bets.csv", index=False)


if __name__ == "__main__":
    main()
