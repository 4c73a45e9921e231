"""Which heads a model has, and how a head from elsewhere joins them."""

import pytest
import torch

from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.nn.heads import registry
from molequi.nn.heads.base import FeatureSpec, Head
from molequi.nn.heads.electrostatics import ChargeHead, DipoleHead, DipoleMagnitudeHead
from molequi.nn.heads.pooling import MeanHead
from molequi.o3.irreps import Irreps
from molequi.properties import PROPERTIES, declare

ELEMENTS = (1, 6, 7, 8)


def make(*names: str, **settings: object) -> MolecularModel:
    return make_model(ELEMENTS, names, n_layers=2, n_channels=4, cutoff=4.0, **settings)


def outputs(model: MolecularModel) -> dict[str, torch.Tensor]:
    return model(collate([probe.graph(model.cutoff) for probe in built_in_probes(ELEMENTS)[:2]]))


@pytest.mark.parametrize(
    ("asked", "heads"),
    [
        (("charges",), {"charges": ChargeHead}),
        (("dipole", "charges"), {"dipole": DipoleHead}),
        (("charges", "dipole"), {"dipole": DipoleHead}),
        (("dipole_magnitude", "dipole"), {"dipole": DipoleHead}),
        (("charges", "dipole_magnitude"), {"dipole_magnitude": DipoleMagnitudeHead}),
        (("dipole_magnitude",), {"dipole_magnitude": DipoleMagnitudeHead}),
    ],
)
def test_one_head_gives_what_belongs_together_in_whatever_order_it_is_asked_for(asked, heads):
    model = make(*asked)
    assert {name: type(head) for name, head in model.heads.items()} == heads
    given = outputs(model)
    assert set(asked) <= set(given)
    assert set(given) == set(model.properties)


def test_a_length_is_a_mean_where_there_are_no_vectors():
    model = make("dipole_magnitude", "charges", architecture="invariants")
    assert {name: type(head) for name, head in model.heads.items()} == {
        "dipole_magnitude": MeanHead,
        "charges": ChargeHead,
    }


def test_length_is_that_of_the_dipole_of_the_charges():
    model = make("dipole_magnitude", "charges").double()
    probe = built_in_probes(ELEMENTS)[0].graph(model.cutoff)
    multipoles = model.multipoles(probe)
    moment = (
        multipoles.charges[:, None] * model.molecules(probe).positions + multipoles.dipoles
    ).sum(dim=0)
    found = model(probe)
    torch.testing.assert_close(
        found["dipole_magnitude"][0], moment.norm() / 0.20819433442462576, rtol=1e-10, atol=0.0
    )
    torch.testing.assert_close(found["charges"], multipoles.charges, rtol=0.0, atol=0.0)


def test_a_length_has_no_shift():
    model = make("dipole_magnitude")
    with pytest.raises(ValueError, match="never shifted"):
        model.heads["dipole_magnitude"].set_statistics(shift=1.0)


class CountHead(Head):
    """Counts atoms, and says so."""

    def forward(self, features, molecules):
        return {self.target.name: molecules.sum(features.distances.new_ones(len(molecules.batch)))}


def test_a_head_from_elsewhere_is_one_class_and_one_entry(monkeypatch, tmp_path):
    monkeypatch.setitem(registry.HEADS, "count", CountHead)
    row = declare("atom_count", unit="1", extensive=True, head="count")
    backbone = make("energy").backbone
    model = MolecularModel(backbone, [PROPERTIES["energy"], row])
    assert outputs(model)["atom_count"].tolist() == [
        len(probe.positions) for probe in built_in_probes(ELEMENTS)[:2]
    ]
    save_model(model, tmp_path / "model.safetensors")
    assert type(load_model(tmp_path / "model.safetensors").heads["atom_count"]) is CountHead
    monkeypatch.delitem(registry.HEADS, "count")
    with pytest.raises(UserError, match="'atom_count' names the head 'count'; the heads are sum"):
        MolecularModel(backbone, [row])


def test_a_head_without_forward_cannot_be_made():
    class Silent(Head):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Silent(PROPERTIES["energy"], FeatureSpec(Irreps("0e"), 4, 8, 4.0))
