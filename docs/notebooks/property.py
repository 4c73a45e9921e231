# %% [markdown]
# # A model of a property of your own
#
# From a table with SMILES to a model that predicts, says how far it may be off, and what it does
# not know. It needs `pip install "molequi[sklearn]"`. Here the property is Crippen's logP,
# computed by RDKit, so that everyone has the data; take your own table instead.

# %%
import csv

import pandas as pd
from rdkit import Chem
from rdkit.Chem import Crippen

with open("data/samples/gaps.csv") as source:
    rows = list(csv.DictReader(source))[:200]
table = pd.DataFrame(
    {
        "name": row["name"],
        "smiles": row["smiles"],
        "logP": round(Crippen.MolLogP(Chem.MolFromSmiles(row["smiles"])), 3),
    }
    for row in rows
)
table.to_csv("logp.csv", index=False)
table.head()

# %% [markdown]
# ## Train
#
# One call, as `molequi train property data.path=logp.csv data.targets=logP` on the command line.
# Geometries are made from the SMILES, 80 % of the molecules train, 10 % choose the best epoch and
# 10 % test.

# %%
import molequi

run = molequi.train(
    "property",
    ["data.path=logp.csv", "data.targets=logP", "training.epochs=30"],
    output="runs/logp",
)
sorted(path.name for path in run.iterdir())

# %% [markdown]
# ## Is it any good?
#
# Look at the errors on the molecules that were not trained on, beside two guesses that cost
# nothing: the mean of the training set (`baseline_mae`) and a ridge regression on Morgan
# fingerprints (`ridge_mae`).

# %%
import json

errors = json.loads((run / "result.json").read_text())["logP"]
{name: round(errors[name], 3) for name in ("mae", "baseline_mae", "ridge_mae", "r2", "spearman")}

# %%
import matplotlib.pyplot as plt

tested = pd.read_csv(run / "test_predictions.csv")
figure, axes = plt.subplots(figsize=(3.2, 3))
axes.axline((0, 0), slope=1, color="0.8")
axes.plot(tested["logP"], tested["logP_predicted"], ".")
_ = axes.set(xlabel="logP", ylabel="predicted")

# %% [markdown]
# ## Predict
#
# `training_similarity` is that to the nearest molecule of the training set, and `unlike_training`
# marks what is unlike all of it: expect larger errors there.

# %%
records = molequi.predict(smiles=["CCO", "CCCCN", "OC1CC1C#N"], model=run)
columns = ["smiles", "logP", "training_similarity", "unlike_training"]
pd.DataFrame(records)[columns].round(3)

# %% [markdown]
# What the model has never seen it refuses by name.

# %%
molequi.predict(smiles="CCBr", model=run)[0]["error"]

# %% [markdown]
# ## With scikit-learn
#
# The same model as an estimator: pipelines, searches and cross-validation take it as any other.
# (A few epochs of few molecules, to be quick; the numbers show the way only.)

# %%
from sklearn.model_selection import cross_val_score

from molequi.estimators import MoleculeRegressor

few = table[~table["smiles"].str.contains("F")].head(60)
scores = cross_val_score(
    MoleculeRegressor(epochs=10),
    few["smiles"],
    few["logP"],
    cv=3,
    scoring="neg_mean_absolute_error",
)
print("MAE of each third:", (-scores).round(2))
