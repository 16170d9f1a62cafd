"""Where models come from that tests write by hand: they have learned from no rows."""

import numpy as np

from cleverbetter_dagster.dataset.fingerprints import Fingerprints
from cleverbetter_dagster.store.tracking.package import TrainingProvenance

NOTHING_LEARNED = TrainingProvenance({}, 0, 1, Fingerprints(np.array([], dtype=np.uint64)))
