"""The files of an export, looked at before TensorFlow runs them. No TensorFlow here but its protos.

A SavedModel is a program: its graph may read and write files, start Python or listen on a port. So
its operations are compared with those that exports of this project consist of. This keeps programs
away, and not a file that makes use of a fault in one of the kernels that are allowed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from tf_advseg import textfile
from tf_advseg.errors import InputError

_GRAPH = "saved_model.pb"
_MAX_GRAPH = 2**28  # Bytes; that of a DenseNet-169 has three millions.

_NAMES = """
    Abs Add AddN AddV2 All Any ArgMax AsString Assert AvgPool BatchMatMulV2 BatchToSpaceND BiasAdd
    BroadcastTo Cast ClipByValue Concat ConcatV2 Const Conv2D DecodeJpeg DecodePng DecodeRaw
    DepthToSpace DepthwiseConv2dNative Einsum Elu EncodePng EnsureShape Equal Erf Exp ExpandDims
    ExtractImagePatches ExtractJpegShape Fill FloorDiv FloorMod FusedBatchNorm FusedBatchNormV3
    Gather GatherNd GatherV2 Greater GreaterEqual Identity IdentityN If LeakyRelu LeftShift Less
    LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool Maximum Mean
    Min Minimum MirrorPad Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall
    Placeholder Pow Prod Range Rank ReadVariableOp RealDiv Reciprocal ReduceJoin Relu Relu6 Reshape
    ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt Select SelectV2 Selu Shape Sigmoid
    Sign Size Slice Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square
    SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessWhile
    StaticRegexFullMatch StopGradient StridedSlice StringJoin StringLength Sub Substr Sum Tanh
    TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack Tile
    TopKV2 Transpose Unpack VarHandleOp Where While ZerosLike
"""
#: What computes: of the exports' own, and what other backbones and heads may want beside it.
_COMPUTING = frozenset(_NAMES.split())

#: What TensorFlow itself adds, to save and restore. It writes and reads any file that it is told.
_SAVING = {
    *("AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2"),
    "ShardedFilename",
}


def newest_version(folder: Path) -> Path:
    """Returns the folder of a SavedModel: the one given, or the newest of the versions in it.

    Raises:
      InputError: there is none.
    """
    if _is_saved_model(folder):
        return folder
    inside = folder.iterdir() if folder.is_dir() else ()
    versions = [path for path in inside if path.name.isdecimal() and _is_saved_model(path)]
    if not versions:
        raise InputError(f"--saved_model {folder} holds no SavedModel; allowed: an export's folder")
    return max(versions, key=lambda path: int(path.name))


def _is_saved_model(folder: Path) -> bool:
    return (folder / _GRAPH).is_file()


def check_graph(folder: Path) -> None:
    """Checks that nothing of a SavedModel does more than compute, before any of it is run.

    Args:
      folder: of the SavedModel.

    Raises:
      InputError: its graph cannot be read, or has an operation that no export has where it is.
    """
    try:
        model = saved_model_pb2.SavedModel.FromString(_content(folder / _GRAPH))
    except DecodeError:
        raise InputError(f"--saved_model {folder} is damaged: its graph cannot be read") from None
    # Of several graphs, or one without objects, TensorFlow runs what a session once did.
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise InputError(f"--saved_model {folder} is no export of ours: it has no graph of objects")
    graph = model.meta_graphs[0]
    if wrong := sorted(set(_unknown(graph.graph_def, graph.object_graph_def.concrete_functions))):
        shown = textfile.shown(", ".join(wrong))
        raise InputError(
            f"--saved_model {folder} has the operations {shown}, which may do more than compute; "
            "allowed: what export.py writes"
        )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_GRAPH + 1)
    except OSError as error:
        raise InputError(f"--saved_model: cannot read {path}: {error.strerror}") from None
    if len(content) > _MAX_GRAPH:
        raise InputError(f"--saved_model: {path} is too large; allowed: {_MAX_GRAPH} bytes")
    return content


def _unknown(graph: graph_pb2.GraphDef, entries: Iterable[str]) -> Iterator[str]:
    """Yields the operations that are not allowed where they are.

    Args:
      graph: the nodes and functions of a SavedModel.
      entries: the names of the functions that its objects lead to.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    # TensorFlow calls the functions of objects, and never the graph itself. What neither an object
    # nor another function leads to cannot run.
    called = {*entries, *(name for f in functions.values() for name in _calls(f.node_def))}
    for name, function in functions.items():
        allowed = _COMPUTING if name in called else _COMPUTING | _SAVING
        yield from (node.op for node in function.node_def if node.op not in {*allowed, *functions})
    yield from (node.op for node in graph.node if node.op not in _COMPUTING)


def _calls(nodes: Iterable) -> Iterator[str]:
    """Yields the names of the functions that nodes call."""
    for node in nodes:
        yield node.op  # A function's name may stand in the place of an operation's.
        for value in node.attr.values():
            yield value.func.name
            yield from (function.name for function in value.list.func)
