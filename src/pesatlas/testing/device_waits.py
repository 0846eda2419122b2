"""Operations that a GPU is given, and those for which the host waits, counted on any device.

On a CPU nothing waits, but what would is known by name: numbers that Python reads, results whose size depends
on numbers, and copies between host and device.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_WAIT = {
    "_local_scalar_dense",
    "_linalg_check_errors",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "linalg_matrix_exp",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
_BY_MASK = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_NO_WORK = {
    "_unsafe_view",
    "detach",
    "empty",
    "empty_like",
    "empty_strided",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
}
_READS = {
    "__array__",
    "__bool__",
    "__contains__",
    "__float__",
    "__index__",
    "__int__",
    "cpu",
    "cuda",
    "item",
    "numpy",
    "tolist",
}
_WRITES = {"as_tensor", "new_tensor", "tensor"}


@dataclass
class Counts:
    """Operations of a stretch of work: how many, and by name those that wait."""

    launches: int = 0
    waits: Counter[str] = field(default_factory=Counter)


@contextmanager
def watched() -> Iterator[Counts]:
    """Count what is done inside."""
    counts = Counts()
    with _Calls(counts), _Operations(counts):
        yield counts


class _Operations(TorchDispatchMode):
    """Sees what reaches a device, from models and their derivatives too."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if not (func.is_view or name in _NO_WORK):
            self._counts.launches += 1
        if (
            name in _WAIT
            or (name in _BY_MASK and _has_mask(args[1]))
            or _has_unknown_size(func, kwargs or {})
        ):
            self._counts.waits[name] += 1
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Sees Python reading numbers, and making tensors of what the host has."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READS or (name in _WRITES and not isinstance(args[-1], torch.Tensor)):
            self._counts.waits[name] += 1
        return func(*args, **(kwargs or {}))


def _has_mask(indices: Sequence["torch.Tensor | None"]) -> bool:
    return any(each is not None and each.dtype in {torch.bool, torch.uint8} for each in indices)


def _has_unknown_size(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether this is a repetition whose size the device has to tell."""
    return func is torch.ops.aten.repeat_interleave.Tensor and kwargs.get("output_size") is None
