"""Estimators of scikit-learn that learn a property or a class of molecules from SMILES."""

from molequi.estimators.classifier import MoleculeClassifier
from molequi.estimators.regressor import MoleculeRegressor

__all__ = ["MoleculeClassifier", "MoleculeRegressor"]
