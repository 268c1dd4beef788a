"""tslearn's classifier of ragged series, which `to_time_series_dataset` pads with NaN, as its guide has it."""

from __future__ import annotations

from collections.abc import Iterator

import tslearn
from benchmarks.peers.padding_cases import Checked, report_all, series
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tslearn.neighbors import KNeighborsTimeSeriesClassifier
from tslearn.utils import to_time_series_dataset


def models() -> Iterator[Checked]:
    """Neighbours by dynamic time warping."""
    X, y = series()
    neighbours = KNeighborsTimeSeriesClassifier(3, metric="dtw")
    model = make_pipeline(FunctionTransformer(to_time_series_dataset), neighbours).fit(X, y)
    yield Checked("KNeighborsTimeSeriesClassifier(dtw)", model, X)


if __name__ == "__main__":
    report_all(tslearn.__version__, models)
