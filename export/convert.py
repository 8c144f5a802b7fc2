"""A PyTorch network becomes an ONNX file with a free batch; what is true of it is checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

from zeroline.export.errors import ExportError
from zeroline.export.quiet import quiet

#: The lowest that PyTorch's exporter writes, and one that TensorRT 10.3 reads.
OPSET = 18
#: ONNX's own limit is 2 GiB for one file; tensors go beside it before that.
LARGE = 1_500_000_000


def to_onnx(network: nn.Module, path: Path, *, size: int, outputs: Sequence[str]) -> None:
    """Export a network of (B, 3, S, S) images in eval mode.

    Tensors of a large network go to ``<name>.data`` beside the file.

    Parameters
    ----------
    network : Module
    path : Path
        Of the ONNX file.
    size : int
        S.
    outputs : sequence of str
        Names of the outputs, in order.

    Raises
    ------
    ExportError
        If the exporter cannot, with its reason.
    """
    large = is_large(network)
    # the fused attention of nn.MultiheadAttention has no ONNX form
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with quiet(), warnings.catch_warnings():
            # the exporter calls what PyTorch itself has deprecated
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", UserWarning)
            torch.onnx.export(
                network,
                (torch.zeros(2, 3, size, size),),  # with an example of one the batch is fixed
                path,
                dynamo=True,
                opset_version=OPSET,
                external_data=large,
                input_names=["images"],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"PyTorch could not export the network: {reason}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    drop_traces(path)
    try:
        onnx.checker.check_model(str(path), full_check=not large)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"the exported graph is not valid: {reason}") from error


def drop_traces(path: Path) -> None:
    """Take the exporter's notes for debugging, paths of the machine among them, out of a file.

    Tensors beside the file are not touched.
    """
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    named = (*graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node)
    for part in (model, graph, *named):
        del part.metadata_props[:]
        part.doc_string = ""
    path.write_bytes(model.SerializeToString())


def is_large(network: nn.Module) -> bool:
    """Say whether the weights need files beside the ONNX file."""
    size: int = sum(p.numel() * p.element_size() for p in network.parameters())
    return size > LARGE
