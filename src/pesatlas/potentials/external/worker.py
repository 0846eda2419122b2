"""The worker of potentials and encoders of kind ``external``: evaluates structures in another environment.

This one file is run by that environment's python (3.10 or newer), which needs numpy, and ase for calculators
of ASE; it needs nothing of pesatlas, so this file imports nothing of it. Requests and answers are lines of
JSON on two pipes; numbers of atoms travel in memory that both processes map (``arrays``).
"""

import ctypes
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import math
import mmap
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_WEIGHTS_BYTES = 100_000
_NO_WEIGHTS = {".py", ".pyc", ".so", ".json", ".ttf", ".ttc", ".otf", ".pfb", ".pcm", ".log", ".lock"}
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/run/", "/lib")
_PROPERTIES = ["energy", "forces", "stress"]
_CHANGES = [
    "positions",
    "numbers",
    "cell",
    "pbc",
    "initial_charges",
    "initial_magmoms",
]  # ase.calculators.calculator.all_changes, spelt out: torch-sim models need no ase
_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))
"""Places of the components xx yy zz yz xz xy in a stress (3, 3): the order of ASE."""


class ContractError(Exception):
    """The loader's object does not do what a calculator has to."""


def arrays(memory: mmap.mmap, structures: int, atoms: int, features: int = 0) -> dict[str, Any]:
    """Return views into the shared memory, by name.

    ``n_atoms`` (B,), ``numbers`` (N,), ``positions`` (N, 3) Å, ``cells`` (B, 3, 3) Å, rows are vectors;
    answers: ``energies`` (B,) eV, ``forces`` (N, 3) eV/Å, ``stresses`` (B, 3, 3) eV/Å³, tension positive,
    ``features`` (N, d).
    """
    import numpy as np

    found, start = {}, 0
    for name, kind, shape in _layout(structures, atoms, features):
        count = math.prod(shape)
        found[name] = np.frombuffer(memory, kind, count, start).reshape(shape)
        start += 8 * count
    return found


def bytes_of(structures: int, atoms: int, features: int = 0) -> int:
    """Size of the shared memory for so many structures, atoms and features of an atom."""
    return sum(8 * math.prod(shape) for _, _, shape in _layout(structures, atoms, features))


def _layout(structures: int, atoms: int, features: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        ("n_atoms", "i8", (structures,)),
        ("numbers", "i8", (atoms,)),
        ("positions", "f8", (atoms, 3)),
        ("cells", "f8", (structures, 3, 3)),
        ("energies", "f8", (structures,)),
        ("forces", "f8", (atoms, 3)),
        ("stresses", "f8", (structures, 3, 3)),
        ("features", "f8", (atoms, features)),
    ]


class AseModel:
    """A calculator of ASE: one structure at a time, so that no structure depends on its company."""

    batched = False

    def __init__(self, calculator: Any) -> None:
        self.calculator = calculator

    def evaluate(self, view: dict[str, Any]) -> None:
        """Fill in energies, forces and stresses."""
        for k, own, atoms in self.structures(view):
            results = self._calculate(k, atoms)
            energy = results.get("free_energy", results["energy"])
            view["energies"][k] = _shaped("an energy", energy, ())
            view["forces"][own] = _shaped("forces", results["forces"], (len(atoms), 3))
            view["stresses"][k] = _stress(results["stress"])

    def structures(self, view: dict[str, Any]) -> Iterable[tuple[int, slice, Any]]:
        """Yield the place of each structure, its atoms' places, and itself as ``Atoms``."""
        from ase import Atoms

        start = 0
        for k, n in enumerate(view["n_atoms"].tolist()):
            own = slice(start, start + n)
            start += n
            # copies: what a calculator keeps must not change with the next batch; not by Atoms(numbers, ...),
            # which looks at each number in Python
            atoms = Atoms(cell=view["cells"][k], pbc=True)
            atoms.arrays = {name: view[name][own].copy() for name in ("numbers", "positions")}
            yield k, own, atoms

    def _calculate(self, k: int, atoms: Any) -> dict[str, Any]:
        self._forget()
        atoms.calc = self.calculator
        try:
            self.calculator.calculate(atoms, list(_PROPERTIES), list(_CHANGES))
        except NotImplementedError as error:
            raise ContractError(f"it cannot calculate {', '.join(_PROPERTIES)}: {error}") from error
        except Exception as error:
            error.args = (f"structure {k}, {atoms.get_chemical_formula()}: {error}",)
            raise
        results = self.calculator.results
        missing = [name for name in _PROPERTIES if results.get(name) is None]
        if missing:
            raise ContractError(f"it gave no {', no '.join(missing)}; energy, forces and stress are needed")
        return dict(results)

    def _forget(self) -> None:
        """Make the calculator start anew.

        A neighbour list that was kept would make results depend on what was evaluated before.
        """
        reset = getattr(self.calculator, "reset", None)
        if reset is not None:
            reset()


class TorchSimModel:
    """A model of torch-sim: all structures at once."""

    batched = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def evaluate(self, view: dict[str, Any]) -> None:
        """Fill in energies, forces and stresses."""
        found = self.model(self.state(view))
        for name, into in (("energy", "energies"), ("forces", "forces"), ("stress", "stresses")):
            if found.get(name) is None:
                raise ContractError(f"it gave no {name}; energy, forces and stress are needed")
            values = found[name].detach().cpu().double().numpy()
            view[into][:] = _shaped(name, values, view[into].shape)

    def state(self, view: dict[str, Any]) -> Any:
        """Structures as torch-sim has them: the columns of its cells are the lattice vectors."""
        import torch

        state_class = importlib.import_module("torch_sim.state").SimState
        device, dtype = self.model.device, self.model.dtype
        counts = torch.tensor(view["n_atoms"])
        positions = torch.tensor(view["positions"], dtype=dtype, device=device)
        return state_class(
            positions=positions,
            masses=torch.ones(len(positions), dtype=dtype, device=device),
            cell=torch.tensor(view["cells"], dtype=dtype, device=device).mT.contiguous(),
            pbc=True,
            atomic_numbers=torch.tensor(view["numbers"], dtype=torch.int64, device=device),
            system_idx=torch.repeat_interleave(torch.arange(len(counts)), counts).to(device),
        )


def _stress(value: Any) -> Any:
    """Stress (3, 3) of ASE's: eV/Å³, tension positive, six components in its order, or nine."""
    import numpy as np

    found = _numbers("a stress", value)
    if found.shape == (6,):
        return found[np.array(_VOIGT)]
    return _shaped("a stress", found, (3, 3))


def _shaped(what: str, value: Any, shape: tuple[int, ...]) -> Any:
    found = _numbers(what, value)
    if shape == () and found.size == 1:
        return found.reshape(())
    if found.shape != tuple(shape):
        raise ContractError(f"it gave {what} of shape {found.shape}, where {tuple(shape)} is expected")
    return found


def _numbers(what: str, value: Any) -> Any:
    import numpy as np

    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ContractError(f"it gave {what} that is not a number: {error}") from error


def _named(loader: str) -> Any:
    module, _, name = loader.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _elements(model: Any) -> list[int] | None:
    """Atomic numbers that a calculator or model says it knows; None if it does not."""
    for path in (
        "type_map",
        "z_table.zs",
        "models.0.atomic_numbers",
        "model.atomic_numbers",
        "atom_indices",
        "config.atomic_numbers",
        "parameters.elements",
        "elements",
        "element_types",
        "model.element_types",
        "potential.model.element_types",
        "model.model.element_types",
    ):
        found = model
        for name in path.split("."):
            if name.isdigit():
                found = found[int(name)] if isinstance(found, list | tuple) and found else None
            else:
                found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
        numbers = _as_numbers(found)
        if numbers:
            return numbers
    return None


def _as_numbers(found: Any) -> list[int]:
    if hasattr(found, "tolist"):
        found = found.tolist()
    if not isinstance(found, list | tuple | set | frozenset | dict) or not found:
        return []
    if all(hasattr(each, "__index__") for each in found):
        return sorted(int(z) for z in found if 1 <= z <= 118)
    if all(isinstance(each, str) for each in found):
        from ase.data import atomic_numbers

        return sorted(atomic_numbers[each] for each in found if each in atomic_numbers)
    return []


class Worker:
    """The model of this process, and what is asked of it."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._map: mmap.mmap | None = None
        self._model: AseModel | TorchSimModel | None = None
        self._features: Callable[[Any], Any] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request; what went wrong is an answer, too."""
        try:
            found: dict[str, Any] = getattr(self, f"do_{request.pop('do')}")(**request)
        except ContractError as error:
            return {"error": "contract", "message": str(error)}
        except Exception as error:
            traceback.print_exc()
            kind = "memory" if _is_out_of_memory(error) else "failed"
            return {"error": kind, "message": f"{type(error).__name__}: {error}"}
        return found

    def do_describe(self, loader: str) -> dict[str, Any]:
        """Versions, licence and checksum of the distribution of ``loader``; nothing of it is imported."""
        top = loader.partition(":")[0].partition(".")[0]
        names = importlib.metadata.packages_distributions().get(top, [])
        versions = {"python": ".".join(map(str, sys.version_info[:3]))}
        for name in dict.fromkeys([*names, "ase", "numpy", "torch", "jax", "torch-sim-atomistic"]):
            with suppress(importlib.metadata.PackageNotFoundError):
                versions[name] = importlib.metadata.version(name).partition("+")[0]
        return {
            "versions": versions,
            "distributions": names,
            "checksum": _checksum(top, names),
            "licence": _licence(names),
        }

    def do_load(
        self, loader: str, arguments: dict[str, Any], device: str, features: str | None = None
    ) -> dict[str, Any]:
        """Build what ``loader`` names; tell which elements it knows and which files it read."""
        if threads := os.environ.get("OMP_NUM_THREADS"):
            _limit_threads(int(threads))
        opened: set[str] = set()
        watching = True

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if watching and event == "open" and isinstance(arguments[0], str):
                opened.add(arguments[0])

        sys.addaudithook(watch)
        try:
            made = _named(loader)(**arguments)
        finally:
            watching = False
        if any(each.__module__.startswith("torch_sim") for each in type(made).__mro__):
            self._model = TorchSimModel(made)
        elif callable(getattr(made, "calculate", None)):
            self._model = AseModel(made)
        else:
            raise ContractError(
                f"it returned a {type(made).__module__}.{type(made).__name__}, which is neither a calculator "
                "of ASE nor a model of torch-sim"
            )
        if features is not None:
            self._features = self._featurizer(features)
        _make_reproducible(device)
        return {
            "elements": _elements(made),
            "batched": self._model.batched,
            "read": sorted(path for path in map(os.path.realpath, opened) if _may_be_weights(path)),
        }

    def _featurizer(self, features: str) -> Callable[[Any], Any]:
        model = self._model
        if not isinstance(model, AseModel):
            raise ContractError("features are had from calculators of ASE, and this is none")
        if ":" in features:
            function = _named(features)
            return lambda atoms: function(model.calculator, atoms)
        method = getattr(model.calculator, features, None)
        if not callable(method):
            raise ContractError(f"its {type(model.calculator).__name__} has no method {features}")
        found: Callable[[Any], Any] = method
        return found

    def do_evaluate(self, structures: int, atoms: int) -> dict[str, Any]:
        """Evaluate the structures in the shared memory."""
        assert self._model is not None
        self._model.evaluate(arrays(self._shared(bytes_of(structures, atoms)), structures, atoms))
        return {}

    def do_width(self, numbers: list[int]) -> dict[str, Any]:
        """Return how many features an atom has, seen on a crystal of one of these elements."""
        from ase import Atoms
        from ase.data import covalent_radii

        edge = 2.2 * covalent_radii[numbers[0]]
        return {"width": self._describe(Atoms([numbers[0]], cell=[edge] * 3, pbc=True)).shape[1]}

    def do_features(self, structures: int, atoms: int, width: int) -> dict[str, Any]:
        """Describe the atoms in the shared memory; NaN, and a reason, for structures that cannot be."""
        assert isinstance(self._model, AseModel)
        view = arrays(self._shared(bytes_of(structures, atoms, width)), structures, atoms, width)
        failed: dict[int, str] = {}
        for k, own, each in self._model.structures(view):
            try:
                found = self._describe(each)
            except ContractError:
                raise
            except Exception as error:
                if _is_out_of_memory(error):
                    raise
                failed[k] = f"{type(error).__name__}: {error}"
                view["features"][own] = float("nan")
                continue
            view["features"][own] = _shaped("features", found, (len(each), width))
        return {"failed": failed}

    def _describe(self, atoms: Any) -> Any:
        assert self._features is not None
        found = _numbers("features", self._features(atoms))
        if found.ndim != 2 or len(found) != len(atoms) or not found.shape[1]:
            raise ContractError(
                f"it gave features of shape {found.shape} for {len(atoms)} atoms: a vector each is expected"
            )
        return found

    def _shared(self, size: int) -> mmap.mmap:
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self._memory, 0)
        return self._map


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        words in f"{type(error).__name__}: {error}"
        for words in ("OutOfMemoryError", "out of memory", "can't allocate memory", "RESOURCE_EXHAUSTED")
    )


def _limit_threads(threads: int) -> None:
    """Keep torch to the threads of the job: once numpy was imported, its own variable may come too late."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _make_reproducible(device: str) -> None:
    """Make torch on a CPU give the same bits each time, for any number of threads."""
    torch = sys.modules.get("torch")
    if torch is not None and device == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False


def _may_be_weights(path: str) -> bool:
    """Whether a file that was read could hold weights: large, and no part of an installation."""
    inside = (sys.prefix, sys.base_prefix, *_SYSTEM)
    return (
        not path.startswith(inside)
        and Path(path).suffix not in _NO_WEIGHTS
        and Path(path).is_file()
        and Path(path).stat().st_size >= _WEIGHTS_BYTES
    )


def _checksum(top: str, names: list[str]) -> str:
    """Checksum of an installed distribution, by the checksums that its installer wrote down.

    Scripts (they hold the path of the environment) and metadata stay out. Without a distribution, or without
    its list, the checksum of the module's own files.
    """
    lines = [
        f"{file.as_posix()} {file.hash.value}"
        for name in names
        for file in importlib.metadata.files(name) or ()
        if file.hash is not None and ".." not in file.parts and ".dist-info" not in file.parts[0]
    ]
    if not any(line.startswith((f"{top}/", f"{top}.")) for line in lines):
        lines = [*lines, *_module_files(top)]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _module_files(top: str) -> list[str]:
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ContractError(f"there is no module {top} in {sys.prefix}")
    if spec.submodule_search_locations:
        roots = [Path(folder) for folder in spec.submodule_search_locations]
        files = [(root, path) for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
    else:
        files = [(Path(spec.origin).parent, Path(spec.origin))] if spec.origin else []
    return [
        f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for root, path in files
        if "__pycache__" not in path.parts
    ]


def _licence(names: list[str]) -> str | None:
    for name in names:
        about: Any = importlib.metadata.metadata(name)
        stated = about.get("License-Expression") or about.get("License")
        if stated and len(stated) < 60 and stated != "UNKNOWN":
            return f"{name}: {stated}"
        classifiers = [c for c in about.get_all("Classifier") or () if c.startswith("License ::")]
        if classifiers:
            return f"{name}: {classifiers[0].rpartition(':: ')[2]}"
    return None


def _die_with_parent(lifeline: int, *, main_thread: bool) -> None:
    """End when the parent does, however it ends.

    The pipe ends with the parent; the signal comes even while this process computes, but is that of the
    parent's thread, so it is asked for only where that is the main one.
    """

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if main_thread and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Answer requests until there are no more."""
    requests, answers, memory, lifeline, main_thread = map(int, sys.argv[1:6])
    _die_with_parent(lifeline, main_thread=bool(main_thread))
    # modules beside this file are not the environment's; those in the folder of the campaign are the user's
    sys.path.pop(0)
    sys.path.append(str(Path.cwd()))
    worker = Worker(memory)
    with open(requests, encoding="utf-8") as incoming, open(answers, "w", encoding="utf-8") as outgoing:
        for line in incoming:
            outgoing.write(json.dumps(worker.answer(json.loads(line))) + "\n")
            outgoing.flush()


if __name__ == "__main__":
    main()
