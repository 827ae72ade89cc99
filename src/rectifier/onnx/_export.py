"""One call to a file, whatever the model was built with."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from .._files import check_writable, write_with
from ..errors import RectifierTypeError
from ._exact import exact as made_exact

__all__ = ["export"]


def export(
    model: Any,
    args: Any,
    path: str | Path,
    *,
    exact: bool = False,
    force: bool = False,
    **options: Any,
) -> Path:
    """Write a PyTorch or Keras model to an ONNX file, in standard operators.

    Arguments
        model: a ``torch.nn.Module`` (put it into ``eval()`` first) or a ``keras.Model``.
        args: for PyTorch the inputs to trace with, a tensor or a tuple of them; for Keras the ``input_signature``, or
            None for the model's own.
        path: the file. Weights that the exporter puts into a file of their own lie beside it.
        exact: replace each Elu, Selu and Celu as :func:`rectifier.onnx.exact` does.
        force: True where existing files may be replaced.
        options: for ``torch.onnx.export`` (``dynamic_shapes=…``) or ``keras.Model.export``.

    Returns the path. Raises RectifierTypeError for another model, RectifierValueError where the file exists, cannot be
    written, or ``exact`` would change nothing; and whatever the framework's exporter raises.
    """
    write = _exporter(model)
    target = check_writable(path, force)
    # The exporters overwrite, and a model's file names the file of its weights: in a folder of its own under its name.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        made = Path(folder, target.name)
        write(model, args, made, options)
        if exact:
            made.rename(plain := made.with_name(f"{target.name}.plain"))
            made_exact(plain, made)
            plain.unlink()
        weights = sorted(part for part in made.parent.iterdir() if part != made)
        for part in weights:
            check_writable(target.parent / part.name, force)
        for part in (*weights, made):  # the model last: it is there when all is there
            write_with(target.parent / part.name, part.replace, force=force)
    return target


def _exporter(model: Any) -> Any:
    # A Keras model on PyTorch is a torch.nn.Module too.
    keras, torch = sys.modules.get("keras"), sys.modules.get("torch")
    if keras is not None and isinstance(model, keras.Model):
        return _keras
    if torch is not None and isinstance(model, torch.nn.Module):
        return _torch
    raise RectifierTypeError(
        f"export: `model` must be a torch.nn.Module or a keras.Model; got {type(model).__name__}. "
        "For an ONNX model use rectifier.onnx.exact."
    )


def _torch(model: Any, args: Any, file: Path, options: dict[str, Any]) -> None:
    import torch

    args = args if isinstance(args, tuple) else (args,)
    with warnings.catch_warnings():
        # Of what PyTorch's exporters call themselves.
        warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
        torch.onnx.export(model, args, str(file), **{"verbose": False, **options})


def _keras(model: Any, args: Any, file: Path, options: dict[str, Any]) -> None:
    model.export(str(file), format="onnx", input_signature=args, **options)
