"""Workers of a data loader after predictions have started torch's threads."""

from ase.build import molecule

from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.datamodule import MolecularDataModule
from molequi.prediction.predict import predict


def test_loader_with_workers_after_a_prediction(network):
    structures = [molecule(name) for name in ("H2O", "CH4", "NH3", "CO2")] * 2
    before = predict(structures, network)
    frames = frames_from_atoms(structures)
    splits = {"valid": frames.n_atoms.new_tensor(range(len(structures)))}
    loader = MolecularDataModule(
        frames, splits, network.cutoff, batch_size=2, workers=1
    ).val_dataloader()
    energies = [
        energy for batch in loader for energy in network.compute(batch.graph)["energy"].tolist()
    ]
    assert len(energies) == len(structures)
    assert (
        max(abs(energy - record["energy"]) for energy, record in zip(energies, before, strict=True))
        < 1e-10
    )
    assert [record["energy"] for record in predict(structures, network)] == [
        record["energy"] for record in before
    ]
