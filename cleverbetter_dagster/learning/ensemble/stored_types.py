"""The classes that fitted base learners consist of: ours, and those of scikit-learn, down to its private ones."""

from sklearn._loss._loss import CyHalfBinomialLoss
from sklearn._loss.link import Interval, LogitLink
from sklearn._loss.loss import HalfBinomialLoss
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder, RobustScaler
from sklearn.tree import ExtraTreeClassifier
from sklearn.tree._tree import Tree

from cleverbetter_dagster.learning.ensemble.base_learners import (
    ForestLearner,
    HistogramLearner,
    LightGBMLearner,
    LogisticLearner,
)
from cleverbetter_dagster.learning.ensemble.edges_learner import EdgesLearner
from cleverbetter_dagster.learning.ensemble.leaf_evidence import BoostedLeaves

LEARNER_TYPES: tuple[type, ...] = (
    *(ForestLearner, ExtraTreesClassifier, ExtraTreeClassifier, Tree),
    *(HistogramLearner, HistGradientBoostingClassifier, LabelEncoder, _BinMapper, TreePredictor),
    *(HalfBinomialLoss, CyHalfBinomialLoss, LogitLink, Interval),
    *(LightGBMLearner, BoostedLeaves),
    *(LogisticLearner, Pipeline, SimpleImputer, RobustScaler, LogisticRegression),
    EdgesLearner,
)
"""See `Family.stored_types`."""
