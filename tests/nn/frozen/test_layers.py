"""The backbone written out gives what the backbone gives.

Against plain torch and its autograd, for every kind of layer.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from ase.build import molecule

from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.kernels import NodeRange, inplace
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.nn.backbones import spherical as backbone_module
from molequi.nn.frozen import autograd, layers
from molequi.nn.frozen.workspace import Workspace
from molequi.o3.coupling import CouplingTable

LAYERS = [
    {"parity": "natural", "correlation": 1, "mixing": "merged"},
    {"parity": "natural", "correlation": 3, "mixing": "separate", "l_hidden": 1},
    {"parity": "natural", "correlation": 2, "mixing": "merged", "n_layers": 3},
    {"parity": "full", "correlation": 1, "mixing": "separate", "n_layers": 3},
    {"parity": "full", "correlation": 3, "mixing": "merged", "l_hidden": 1},
    {"parity": "full", "correlation": 2, "mixing": "separate", "n_layers": 1},
    {"parity": "natural", "correlation": 1, "mixing": "merged", "l_max": 0},
    {
        "parity": "full",
        "correlation": 2,
        "mixing": "separate",
        "self_connection": "matrices",
        "n_layers": 3,
        "l_hidden": 1,
    },
    {"parity": "natural", "correlation": 3, "mixing": "separate", "product": "symmetric"},
    {"parity": "full", "correlation": 2, "mixing": "merged", "product": "symmetric"},
]


def graph_of(*names: str, cutoff: float = 4.0) -> AtomGraph:
    atoms = [molecule(name) for name in names]
    return collate(
        [
            build_graph(x.positions + 0.05 * torch.rand(len(x), 3).numpy(), x.numbers, cutoff)
            for x in atoms
        ]
    )


def model_of(outputs: list[str], **settings: object) -> MolecularModel:
    model = make_model(
        (1, 6, 8),
        outputs,
        **{"n_layers": 2, "n_channels": 3, "l_max": 2, "cutoff": 4.0, **settings},
    ).to(torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # what starts as zero would hide what it multiplies
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return model


@pytest.mark.parametrize(
    "settings", LAYERS, ids=lambda settings: "-".join(str(value) for value in settings.values())
)
@pytest.mark.parametrize(
    ("outputs", "n_threads"),
    [(["energy"], 1), (["energy", "dipole"], 3)],
    ids=["energy", "dipole-threads"],
)
def test_outputs_and_forces_are_those_of_autograd(
    settings: dict, outputs: list[str], n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "dipole" in outputs and settings.get("l_max") == 0:
        pytest.skip("without l = 1 there is no dipole")
    torch.manual_seed(0)
    model, graph = model_of(outputs, **settings), graph_of("CH3CH2OH", "H2O", "O")
    expected = model.compute(graph)
    calls = []
    apply = backbone_module.FrozenPass.apply
    monkeypatch.setattr(
        backbone_module.FrozenPass, "apply", lambda *arguments: calls.append(1) or apply(*arguments)
    )
    monkeypatch.setattr(layers, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(autograd, "_BLOCK", 16)
    frozen = model.freeze(kernels="generic")
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        actual = frozen.compute(graph)
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert calls == [1]
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        torch.testing.assert_close(
            value,
            expected[name],
            rtol=1e-11,
            atol=1e-11 * float(expected[name].abs().max()),
            msg=name,
        )


def test_threads_at_different_powers_write_into_memory_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread may be at the third power of its messages while another is at the second.

    These have other rows: their scratch must not overlap.
    """
    model, graph = (
        model_of(["energy"], parity="full", correlation=3),
        graph_of("CH3CH2OH", "H2O", "O"),
    )
    spans: dict[NodeRange, list[tuple[int, int]]] = {}
    couple_gradient = inplace.couple_gradient

    def spy(
        inputs: tuple, table: CouplingTable, pair: list[torch.Tensor], nodes: NodeRange
    ) -> None:
        for x in pair:
            start, step = x.data_ptr(), x.stride(0) * x.element_size()
            spans.setdefault(nodes, []).append(
                (start + nodes.first * step, start + nodes.last * step)
            )
        couple_gradient(inputs, table, pair, nodes)

    monkeypatch.setattr(inplace, "couple_gradient", spy)
    monkeypatch.setattr(layers, "_WORTH_A_THREAD", 1)
    frozen = model.freeze(kernels="generic")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        frozen.compute(graph)
    finally:
        torch.set_num_threads(before)
    assert len(spans) == 3
    assert all(len({last - first for first, last in own}) > 1 for own in spans.values())
    for one, other in itertools.combinations(spans.values(), 2):
        assert all(last <= start or end <= first for first, last in one for start, end in other)


@pytest.mark.parametrize("mixing", ["merged", "separate"])
def test_empty_graphs_and_isolated_atoms(mixing: str) -> None:
    model = model_of(["energy"], correlation=2, mixing=mixing)
    lonely = collate([graph_of("O"), graph_of("H")])
    empty = build_graph(torch.zeros(0, 3).numpy(), [], 4.0)
    for graph in (lonely, empty):
        expected = model.compute(graph)
        for name, value in model.freeze(kernels="generic").compute(graph).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_training_and_hessians_do_not_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a pass that can be differentiated once only")

    monkeypatch.setattr(backbone_module.FrozenPass, "apply", refuse)
    model, graph = model_of(["energy"]), graph_of("H2O")
    model.backbone.use_kernels("generic")
    outputs = model.compute(graph, create_graph=True)
    outputs["forces"].square().sum().backward()
    frozen = model.freeze()
    assert model.hessian(graph).shape == frozen.hessian(graph).shape == (9, 9)
    assert frozen(graph)["energy"].shape == (1,)
    with pytest.raises(AssertionError, match="once only"):
        frozen.compute(graph)


def test_other_properties_ask_for_no_gradients_in_a_prediction() -> None:
    model, graph = model_of(["energy", "dipole"]), graph_of("H2O")
    outputs = model.compute(graph, create_graph=True)
    assert outputs["dipole"].requires_grad
    assert not any(value.requires_grad for value in model.compute(graph).values())


def test_threads_that_share_a_model_do_not_share_buffers() -> None:
    model = model_of(["energy"], correlation=2)
    graphs = [graph_of("CH3CH2OH"), graph_of("H2O", "CH4"), graph_of("C6H6")] * 4
    frozen = model.freeze(kernels="generic")
    expected = [frozen.compute(graph) for graph in graphs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(frozen.compute, graphs))
    for mine, other in zip(found, expected, strict=True):
        for name, value in mine.items():
            torch.testing.assert_close(value, other[name], rtol=0.0, atol=0.0)


def test_a_workspace_gives_the_same_memory_again_and_never_twice_in_a_pass() -> None:
    workspace, like = Workspace(), torch.zeros(1)
    first = [workspace.empty(like, 2, 3), workspace.empty(like, 4)]
    mark = workspace.mark()
    last = workspace.empty(like, 5)
    assert len({tensor.data_ptr() for tensor in (*first, last)}) == 3
    workspace.restart(mark)
    assert workspace.empty(like, 5).data_ptr() == last.data_ptr()
    workspace.restart()
    assert workspace.empty(like, 3, 2).data_ptr() == first[0].data_ptr()
    larger = workspace.empty(like.double(), 7, 7)
    assert larger.shape == (7, 7) and larger.dtype == torch.float64
