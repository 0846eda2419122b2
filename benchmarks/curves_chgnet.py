"""chgnet 0.3.0 fine-tuned on picks, the same number of steps for all, and its errors."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch
from curves_pool import Frames
from numpy.typing import NDArray

STEPS, BATCH = 60, 8
WEIGHTS = {"e": 0.1, "f": 1.0}
"""Of the Huber losses: eV/atom, eV/Å. Stress takes no part: it would be most of the loss."""
DELTA = 0.01


class FineTuning:
    """Fine-tuning on frames, whose graphs are made once."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self._graphs: dict[int, Any] = {}

    def _graph(self, model: Any, row: int) -> Any:
        if row not in self._graphs:
            from pymatgen.io.ase import AseAtomsAdaptor  # noqa: PLC0415 - heavy

            self._graphs[row] = model.graph_converter(AseAtomsAdaptor.get_structure(self.frames.atoms[row]))
        return self._graphs[row]

    def train(self, picks: Sequence[int], seed: int, rate: float) -> Any:
        """Return the model after ``STEPS`` of Adam, the rate falling along a cosine to 1 %."""
        from chgnet.model import CHGNet  # noqa: PLC0415 - heavy

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        with redirect_stdout(io.StringIO()):
            model = CHGNet.load(use_device="cpu", verbose=False)
        model.train()
        optimizer = torch.optim.Adam([w for w in model.parameters() if w.requires_grad], lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=0.01 * rate)
        huber = torch.nn.HuberLoss(delta=DELTA)
        order = _endless(len(picks), seed)
        for _ in range(STEPS):
            rows = [picks[next(order)] for _ in range(min(BATCH, len(picks)))]
            graphs = [self._graph(model, row) for row in rows]
            for graph in graphs:
                graph.atom_frac_coord.requires_grad_(True)
            found = model(graphs, task="ef")
            right = [self._labels(row) for row in rows]
            loss = WEIGHTS["e"] * huber(found["e"].view(-1), torch.stack([part[0] for part in right]))
            loss += WEIGHTS["f"] * huber(torch.cat(found["f"]), torch.cat([part[1] for part in right]))
            optimizer.zero_grad()
            (loss / DELTA).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
        return model

    def _labels(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        atoms = self.frames.atoms[row]
        single = torch.float32
        return (
            torch.tensor(atoms.get_potential_energy() / len(atoms), dtype=single),
            torch.tensor(atoms.get_forces(), dtype=single),
        )

    def errors(self, model: Any, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield errors of frames: energy in eV/atom, force components in eV/Å, virial in eV/atom."""
        from pesatlas.potentials.chgnet_model import ChgnetPotential  # noqa: PLC0415
        from pesatlas.potentials.fast_chgnet import SplitChgnet  # noqa: PLC0415
        from pesatlas.potentials.potential import Batch  # noqa: PLC0415

        fast = SplitChgnet({k: v.detach() for k, v in model.state_dict().items()}, model.model_args)
        potential = ChgnetPotential(
            fast, name="", weights_hash="", elements=frozenset(range(1, 95)), device=torch.device("cpu")
        )
        for row in rows:
            atoms = self.frames.atoms[row]
            batch = Batch(
                torch.as_tensor(atoms.numbers.astype(np.int64)),
                torch.as_tensor(atoms.positions),
                torch.as_tensor(np.array(atoms.cell))[None],
                torch.tensor([len(atoms)]),
            )
            done = potential.evaluate(batch)
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
