# %% [markdown]
# # Left and right
#
# Mirror images have the same energy and the opposite optical rotation. `chiroptical` predicts the
# rotation with its sign, exactly opposite for mirror images, because the network can build
# nothing else. It needs `pip install molequi` and `pandas`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from ase import Atoms

import molequi

hands = ["C[C@H](O)C=O", "C[C@@H](O)C=O", "CCO"]
records = molequi.predict(smiles=hands, model="chiroptical")
columns = ["smiles", "cip", "specific_rotation", "rotation_sign"]
pd.DataFrame(records)[columns].round(2)

# %% [markdown]
# The numbers are those of one geometry, in deg/[dm (g/cm³)]. The two lactaldehydes were placed in
# space one by one and so need not be images of each other; ethanol's geometry rotates a little,
# but ethanol does not, because its mirror image is a conformer too: it has no sign.
#
# ## Mirror images, exactly
#
# Reflect a geometry, and the energy stays while the rotation changes its sign, to the last
# digits.

# %%
from molequi.structures.molecules import atoms_from_smiles

left = atoms_from_smiles("C[C@H](O)C=O")
right = left.copy()
right.positions[:, 0] *= -1
rotation = [one["specific_rotation"] for one in molequi.predict([left, right], "chiroptical")]
energy = [one["energy"] for one in molequi.predict([left, right], "organic")]
print(f"rotation {rotation[0]:.6f} and {rotation[1]:.6f}")
print(f"energies differ by {abs(energy[0] - energy[1]):.1e} eV")

# %% [markdown]
# ## A molecule that turns from one hand into the other
#
# Hydrogen peroxide is flat at 0° and 180° and twisted between. Its rotation is an odd function of
# the dihedral angle: it vanishes where the molecule is flat. (A small molecule, far from what the
# model was trained on: look at the symmetry, which holds anyway, and not at the size.)


# %%
def peroxide(angle: float) -> Atoms:
    """Return H2O2 with a dihedral angle in degrees."""
    atoms = Atoms("HOOH", [[0.0, 0.95, 0.0], [0.0, 0.0, 0.2], [1.45, 0.0, 0.2], [1.45, 0.95, 0.0]])
    atoms.set_dihedral(0, 1, 2, 3, angle, indices=[3])
    return atoms


angles = np.arange(-180, 181, 10)
found = molequi.predict([peroxide(angle) for angle in angles], "chiroptical")
values = np.array([one["specific_rotation"] for one in found])
figure, axes = plt.subplots(figsize=(4.5, 2.5))
axes.axhline(0, color="0.8")
axes.plot(angles, values)
axes.set(xlabel="dihedral angle, degrees", ylabel="rotation")
print(f"odd to {abs(values + values[::-1]).max():.1e}, largest {abs(values).max():.0f}")

# %% [markdown]
# ## What cannot see hands
#
# A network whose features are numbers of distances and angles alone gives mirror images the same
# value, and so zero where it must be opposite. Which networks can tell hands apart, and why, is
# told in [What can tell hands apart](../explanations/chirality.md).
