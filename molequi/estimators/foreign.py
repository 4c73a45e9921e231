"""scikit-learn, without which there are no estimators, and pandas, without which no frames."""

from __future__ import annotations

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError(
        'molequi.estimators needs scikit-learn; pip install "molequi[sklearn]"'
    ) from error
try:
    import pandas
except ImportError:
    pandas = None

__all__ = ["BaseEstimator", "ClassifierMixin", "RegressorMixin", "check_is_fitted", "pandas"]
