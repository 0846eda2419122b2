"""chgnet 0.3.0, or a potential of matgl, fine-tuned on picks: the same number of steps for all."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pesatlas.testing.crystals import to_batch

STEPS, BATCH = 60, 8
WEIGHTS = {"e": 0.1, "f": 1.0}
"""Of the Huber losses: eV/atom, eV/Å. Stress takes no part: it would be most of the loss."""
DELTA = 0.01


class Learner(Protocol):
    """A potential whose weights learn."""

    name: str

    def new(self) -> torch.nn.Module:
        """Return the published weights, ready to learn."""
        ...

    def predict(self, model: torch.nn.Module, atoms: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies per atom (B,) in eV and forces (N, 3) in eV/Å, differentiable along the weights."""
        ...

    def potential(self, model: torch.nn.Module) -> Any:
        """Return it as a potential of pesatlas."""
        ...


class Chgnet:
    """chgnet 0.3.0 by its package, whose graphs are made once."""

    name = "chgnet"

    def __init__(self) -> None:
        self._graphs: dict[int, Any] = {}

    def new(self) -> torch.nn.Module:
        """Return the published weights, ready to learn."""
        from chgnet.model import CHGNet  # noqa: PLC0415 - heavy

        with redirect_stdout(io.StringIO()):
            model: Any = CHGNet.load(use_device="cpu", verbose=False)
        # an atom without neighbours has the energy of its element, as in pesatlas
        model.graph_converter.set_isolated_atom_response("ignore")
        tuned: torch.nn.Module = model.train()
        return tuned

    def _graph(self, model: Any, atoms: Any) -> Any:
        if id(atoms) not in self._graphs:
            from pymatgen.io.ase import AseAtomsAdaptor  # noqa: PLC0415 - heavy

            self._graphs[id(atoms)] = model.graph_converter(AseAtomsAdaptor.get_structure(atoms))
        return self._graphs[id(atoms)]

    def predict(self, model: Any, atoms: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``Learner.predict``."""
        graphs = [self._graph(model, each) for each in atoms]
        for graph in graphs:
            graph.atom_frac_coord.requires_grad_(True)
        found = model(graphs, task="ef")
        return found["e"].view(-1), torch.cat(found["f"])

    def potential(self, model: Any) -> Any:
        """As ``Learner.potential``."""
        from pesatlas.potentials.chgnet_model import ChgnetPotential  # noqa: PLC0415
        from pesatlas.potentials.fast_chgnet import SplitChgnet  # noqa: PLC0415

        fast = SplitChgnet({k: v.detach() for k, v in model.state_dict().items()}, model.model_args)
        known = frozenset(range(1, 95))
        return ChgnetPotential(fast, name="", weights_hash="", elements=known, device=torch.device("cpu"))


class Matgl:
    """Weights that matgl saved, through its own layers while they learn."""

    def __init__(self, folder: Path, *, older_convention: bool) -> None:
        self.name = folder.name
        self._folder, self._older = folder, older_convention

    def new(self) -> torch.nn.Module:
        """Return the published weights, ready to learn."""
        from pesatlas.potentials.weights import load_matgl  # noqa: PLC0415 - heavy

        saved: torch.nn.Module = load_matgl(self._folder, older_convention=self._older)
        return saved

    def potential(self, model: torch.nn.Module) -> Any:
        """As ``Learner.potential``."""
        from pesatlas.potentials.matgl_models import MatglPotential  # noqa: PLC0415 - heavy

        return MatglPotential(model, "", "", torch.device("cpu"))

    def predict(self, model: torch.nn.Module, atoms: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``Learner.predict``."""
        from pesatlas.potentials.graph import build_graph  # noqa: PLC0415

        potential = self.potential(model)
        # its own order of the weights is a copy, which would not learn
        potential._split = None  # noqa: SLF001
        model.train().requires_grad_(True)
        batch = to_batch(list(atoms))
        graph = build_graph(batch, potential.cutoff_A)
        vectors = graph.vectors.to(torch.float32).requires_grad_()
        energies = potential.energies(graph, vectors)
        (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
        forces = gradient.new_zeros(len(graph.numbers), 3)
        forces = forces.index_add(0, graph.sources, gradient).index_add(0, graph.targets, -gradient)
        return (energies / batch.n_atoms).float(), forces


class FineTuning:
    """Fine-tuning of a learner on frames, and its errors."""

    def __init__(self, atoms: Sequence[Any], learner: Learner) -> None:
        self.atoms, self.learner = atoms, learner

    def train(self, picks: Sequence[int], seed: int, rate: float) -> torch.nn.Module:
        """Return the model after ``STEPS`` of Adam, the rate falling along a cosine to 1 %."""
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = self.learner.new().requires_grad_(True)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=0.01 * rate)
        huber = torch.nn.HuberLoss(delta=DELTA)
        order = _endless(len(picks), seed)
        for _ in range(STEPS):
            rows = [picks[next(order)] for _ in range(min(BATCH, len(picks)))]
            energies, forces = self.learner.predict(model, [self.atoms[row] for row in rows])
            right = [self._labels(row) for row in rows]
            loss = WEIGHTS["e"] * huber(energies, torch.stack([part[0] for part in right]))
            loss = loss + WEIGHTS["f"] * huber(forces, torch.cat([part[1] for part in right]))
            optimizer.zero_grad()
            (loss / DELTA).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
        return model

    def _labels(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        atoms = self.atoms[row]
        single = torch.float32
        return (
            torch.tensor(atoms.get_potential_energy() / len(atoms), dtype=single),
            torch.tensor(atoms.get_forces(), dtype=single),
        )

    def errors(self, model: torch.nn.Module, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield errors of frames: energy in eV/atom, force components in eV/Å, virial in eV/atom."""
        potential = self.learner.potential(model)
        for row in rows:
            atoms = self.atoms[row]
            done = potential.evaluate(to_batch([atoms]))
            wrong = done.stresses[0].numpy() - atoms.get_stress(voigt=False)
            yield {
                "energy": abs(float(done.energies[0]) - atoms.get_potential_energy()) / len(atoms),
                "forces": np.abs(done.forces.numpy() - atoms.get_forces()).ravel(),
                "virial": np.abs(wrong[np.triu_indices(3)]) * atoms.get_volume() / len(atoms),
            }


def _endless(count: int, seed: int) -> Iterator[int]:
    """Yield places of picks for ever, in a new order each time all have been there."""
    rng: np.random.Generator = np.random.default_rng(seed)
    while True:
        order: NDArray[np.int64] = rng.permutation(count)
        yield from order.tolist()
