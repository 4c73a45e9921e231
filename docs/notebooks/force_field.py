# %% [markdown]
# # A force field for a molecule of your own
#
# In ten minutes: sample geometries with the bundled model, label them at a level of theory of
# your choice, fine-tune, and run dynamics. Here the level is GFN2-xTB, because labels then take a
# second (`pip install "molequi[labels]"`); with PySCF it is the same call with `hf/6-31g` or
# another level.

# %%
import logging

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

import molequi
from molequi.labeling.run import RunSettings
from molequi.simulation.relaxation import relax

logging.getLogger("molequi").setLevel(logging.ERROR)

# %% [markdown]
# ## Geometries
#
# Glycolaldehyde, the smallest sugar. Dynamics at 500 K with `organic` visits what a force field
# should know.

# %%
relax(smiles="OCC=O", model="organic", fmax=0.02, output="start.xyz")
atoms = ase.io.read("start.xyz")
atoms.calc = molequi.Calculator("organic")
rng = np.random.default_rng(0)
MaxwellBoltzmannDistribution(atoms, temperature_K=500, rng=rng)
dynamics = Langevin(
    atoms, 1.0 * units.fs, temperature_K=500, friction=0.02 / units.fs, rng=rng, fixcm=False
)
frames = []
dynamics.attach(lambda: frames.append(atoms.copy()), interval=12)
dynamics.run(1400)
frames = frames[5:]
for frame in frames:
    del frame.arrays["momenta"]
ase.io.write("frames.xyz", frames)
len(frames)

# %% [markdown]
# ## Labels

# %%
done = molequi.label("frames.xyz", "gfn2-xtb", "labels.xyz", run=RunSettings(n_processes=1))
done.program, done.properties, done.n_labelled

# %% [markdown]
# ## Fine-tune
#
# `init=organic` starts from the bundled model; the reference energies move to the new level by
# themselves. Elements that the model does not know would be added.

# %%
settings = ["data.path=labels.xyz", "init=organic", "model={}", "data.targets=energy,forces"]
run = molequi.train(
    "extxyz", [*settings, "training.epochs=15", "training.learning_rate=0.003"], output="runs/own"
)
errors = molequi.evaluate(run, split="test")
own = {name: round(1000 * errors[name]["mae"], 1) for name in ("energy", "forces")}
other = molequi.evaluate("organic", "labels.xyz")["forces"]["mae"]
print("MAE on unseen frames, meV and meV/Å:", own)
print("forces of the model that it started from:", round(1000 * other, 1))

# %% [markdown]
# ## Use
#
# The run directory is a model. Does its dynamics keep the total energy? Its forces are the
# gradient of one energy, so it must, up to the error of the time step.

# %%
atoms = ase.io.read("start.xyz")
atoms.calc = molequi.Calculator(run)
MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(1))
dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
energies = []
dynamics.attach(
    lambda: energies.append((atoms.get_potential_energy(), atoms.get_total_energy())), interval=4
)
dynamics.run(600)
potential, total = np.array(energies).T
figure, axes = plt.subplots(figsize=(4.5, 2.5))
time = 0.002 * np.arange(len(total))
axes.plot(time, 1000 * (potential - total[0]), label="potential")
axes.plot(time, 1000 * (total - total[0]), label="total")
axes.set(xlabel="time, ps", ylabel="energy, meV")
axes.legend()
print(f"the total energy wanders by {1000 * np.ptp(total) / len(atoms):.3f} meV per atom")
