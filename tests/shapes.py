"""Checks a call against the shapes that torchtyping's hints declare.

torchtyping's own checker reads `Tensor.names`, which newer PyTorch does not have; its hints are read here instead.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable

import torch
from torchtyping.tensor_details import DtypeDetail, ShapeDetail


def tensor_hints(hint: object) -> list[tuple]:
    """The details (shape, dtype) of every TensorType that a hint allows."""
    if typing.get_origin(hint) is typing.Annotated:
        return [found["details"] for found in hint.__metadata__ if isinstance(found, dict) and "details" in found]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [details for part in typing.get_args(hint) for details in tensor_hints(part)]
    return []


def check(what: str, tensor: torch.Tensor, details: tuple, sizes: dict[str, int]) -> None:
    """Raise `TypeError` where a tensor is not what the details say; names get their size at their first use."""
    for detail in details:
        if isinstance(detail, DtypeDetail) and tensor.dtype != detail.dtype:
            raise TypeError(f"{what} is {tensor.dtype}, declared {detail.dtype}")
        if not isinstance(detail, ShapeDetail):
            continue
        dims, shape = list(detail.dims), list(tensor.shape)
        if dims and dims[0].size is ...:
            dims, shape = dims[1:], shape[max(len(shape) - len(dims) + 1, 0) :]
        if len(dims) != len(shape):
            raise TypeError(f"{what} has shape {tuple(tensor.shape)}, declared {detail}")
        for dim, size in zip(dims, shape):
            wanted = sizes.setdefault(dim.name, size) if isinstance(dim.name, str) else dim.size
            if size != wanted:
                raise TypeError(f"{what} has shape {tuple(tensor.shape)}, declared {detail} with {sizes}")


def checked(function: Callable) -> Callable:
    """Return the function with the tensors it is given and gives checked; hints that name none are not looked at."""
    hints, signature = typing.get_type_hints(function, include_extras=True), inspect.signature(function)
    assert any(tensor_hints(hint) for hint in hints.values()), f"{function} declares no shapes"

    def run(*arguments: object, **keywords: object) -> object:
        sizes: dict[str, int] = {}
        bound = signature.bind(*arguments, **keywords)
        for name, value in bound.arguments.items():
            for details in tensor_hints(hints.get(name)):
                if isinstance(value, torch.Tensor):
                    check(name, value, details, sizes)
        result = function(*arguments, **keywords)
        for details in tensor_hints(hints.get("return")):
            check("the result", result, details, sizes)
        return result

    return run
