"""Graphs that say the same in fewer or faster steps; ONNX Runtime does none of this by itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_FLAT_SLOPE = 2e-3
"""About half a step of 8 bits; the nets here have 1e-3, which is a little more as a float of 32 bits."""


def without_flat_slopes(graph: onnx.GraphProto) -> None:
    """Turn leaky ReLUs of hardly any slope into ReLUs, for 8 bits: only a ReLU melts into its convolution there.

    What the slope lets through is at most two thousandths of the largest values, about half a step of 8 bits.
    """
    for node in graph.node:
        if node.op_type == "LeakyRelu" and _attribute(node, "alpha", 0.01) <= _FLAT_SLOPE:
            node.op_type = "Relu"
            del node.attribute[:]


def enlarge_later(graph: onnx.GraphProto) -> None:
    """Take 1x1 convolutions of concatenations apart, so that what was enlarged first is convolved first.

    That share of the work becomes a quarter, nothing is concatenated, and the sum is the same: neither nearest
    neighbours nor a 1x1 kernel mixes places. The shapes of the graph must have been inferred.
    """
    made = {name: node for node in graph.node for name in node.output}
    read = Counter(name for node in graph.node for name in node.input)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for conv in [node for node in graph.node if _is_by_place(node, weights)]:
        joined = made.get(conv.input[0])
        if joined is None or joined.op_type != "Concat" or read[joined.output[0]] > 1:
            continue
        parts = list(joined.input)
        enlarged = [made[name] if name in made and _is_doubling(made[name], weights) else None for name in parts]
        widths = _channels(graph, parts)
        if not any(enlarged) or widths is None:
            continue
        replacement = _apart(graph, conv, parts, enlarged, widths, weights[conv.input[1]])
        _replace(graph, [joined, *(node for node in enlarged if node and read[node.output[0]] == 1)], conv, replacement)


def double_by_copies(graph: onnx.GraphProto, sides: dict[str, tuple[int, int, int]]) -> None:
    """Enlarge numbers of 8 bits by copying rows, where the quantiser left them between two changes of scale.

    ONNX Runtime looks up every number of an enlarged map of 8 bits one by one. Copies of whole pixels and whole
    rows, channels last, as its convolutions of 8 bits want them, take a fraction of the time.

    Parameters
    ----------
    sides : dict
        Channels, rows and columns of what each enlargement reads, by the name of its node.
    """
    made = {name: node for node in graph.node for name in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    read = Counter(name for node in graph.node for name in node.input)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.name in sides and _is_doubling(node, weights)]:
        before, after = made.get(node.input[0]), readers.get(node.output[0])
        if before is None or after is None or read[node.output[0]] > 1:
            continue
        if before.op_type != "DequantizeLinear" or after.op_type != "QuantizeLinear":
            continue
        if list(before.input[1:]) != list(after.input[1:]):
            continue
        gone = [node, *([before] if read[before.output[0]] == 1 else [])]
        _replace(graph, gone, after, _copies(graph, node.name, before.input[0], after.output[0], sides[node.name]))


def doubled_sides(graph: onnx.GraphProto) -> dict[str, tuple[int, int, int]]:
    """Channels, rows and columns of what every Resize reads, by the name of its node, where they are known."""
    known = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.input)}
    found = {}
    for node in graph.node:
        sides = tuple(dim.dim_value for dim in known.get(node.input[0], ())[1:])
        if node.op_type == "Resize" and len(sides) == 3 and all(sides):
            found[node.name] = sides
    return found


def _apart(
    graph: onnx.GraphProto,
    conv: onnx.NodeProto,
    parts: list[str],
    enlarged: list[onnx.NodeProto | None],
    widths: list[int],
    kernel: onnx.TensorProto,
) -> list[onnx.NodeProto]:
    """One convolution for each part, the enlargements behind them, and the sum under the old output's name."""
    values = np.split(numpy_helper.to_array(kernel), np.cumsum(widths)[:-1], axis=1)
    nodes: list[onnx.NodeProto] = []
    terms: list[str] = []
    for number, (part, larger, value) in enumerate(zip(parts, enlarged, values, strict=True)):
        name = f"{conv.name}_part_{number}"
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{name}_weight"))
        bias = list(conv.input[2:]) if number == len(parts) - 1 else []
        source = part if larger is None else larger.input[0]
        one = helper.make_node("Conv", [source, f"{name}_weight", *bias], [name], name=name)
        one.attribute.extend(conv.attribute)
        nodes.append(one)
        if larger is not None:
            later = onnx.NodeProto()
            later.CopyFrom(larger)
            later.name, later.input[0], later.output[0] = f"{name}_enlarged", name, f"{name}_enlarged"
            nodes.append(later)
        terms.append(nodes[-1].output[0])
    total = terms[0]
    for number, term in enumerate(terms[1:], start=1):
        out = conv.output[0] if number == len(terms) - 1 else f"{conv.name}_sum_{number}"
        nodes.append(helper.make_node("Add", [total, term], [out], name=f"{conv.name}_sum_{number}"))
        total = out
    return nodes


def _copies(
    graph: onnx.GraphProto, name: str, source: str, out: str, sides: tuple[int, int, int]
) -> list[onnx.NodeProto]:
    """Twice every pixel of a row, then twice every row, channels last."""
    channels, rows, columns = sides
    shapes = {
        "pixels": (-1, rows, columns, 1, channels),
        "rows": (-1, rows, 1, 2 * columns * channels),
        "image": (-1, 2 * rows, 2 * columns, channels),
    }
    for what, shape in shapes.items():
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_{what}_shape"))
    steps = [f"{name}_{step}" for step in ("last", "pixels", "pixels_twice", "rows", "rows_twice", "image")]
    last, pixels, pixels_twice, whole, whole_twice, image = steps
    return [
        helper.make_node("Transpose", [source], [last], name=last, perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [last, f"{name}_pixels_shape"], [pixels], name=pixels),
        helper.make_node("Concat", [pixels, pixels], [pixels_twice], name=pixels_twice, axis=3),
        helper.make_node("Reshape", [pixels_twice, f"{name}_rows_shape"], [whole], name=whole),
        helper.make_node("Concat", [whole, whole], [whole_twice], name=whole_twice, axis=2),
        helper.make_node("Reshape", [whole_twice, f"{name}_image_shape"], [image], name=image),
        helper.make_node("Transpose", [image], [out], name=f"{name}_first", perm=[0, 3, 1, 2]),
    ]


def _replace(
    graph: onnx.GraphProto, gone: list[onnx.NodeProto], place: onnx.NodeProto, nodes: list[onnx.NodeProto]
) -> None:
    """Put nodes in the place of one, and take others out, with the constants that nobody reads any more."""
    names = {node.name for node in gone}
    kept = [node for node in graph.node if node.name not in names]
    at = next(number for number, node in enumerate(kept) if node.name == place.name)
    kept[at : at + 1] = nodes
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def _is_by_place(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Whether this is a 1x1 convolution of stride 1 in one group."""
    if node.op_type != "Conv" or node.input[1] not in weights:
        return False
    plain = all(value == 1 for value in _attribute(node, "strides", [1])) and _attribute(node, "group", 1) == 1
    return plain and list(weights[node.input[1]].dims[2:]) == [1, 1] and not any(_attribute(node, "pads", [0]))


def _is_doubling(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Whether this enlarges rows and columns to twice by nearest neighbours."""
    if node.op_type != "Resize" or len(node.input) != 3 or node.input[2] not in weights:
        return False
    floor = _attribute(node, "nearest_mode", b"round_prefer_floor") == b"floor"
    asymmetric = _attribute(node, "coordinate_transformation_mode", b"half_pixel") == b"asymmetric"
    scales = numpy_helper.to_array(weights[node.input[2]]).tolist()
    return _attribute(node, "mode", b"nearest") == b"nearest" and floor and asymmetric and scales == [1, 1, 2, 2]


def _channels(graph: onnx.GraphProto, names: list[str]) -> list[int] | None:
    """Channels of tensors (slice, channel, row, column), or None where one is not known."""
    known = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.input)}
    if any(len(known.get(name, ())) != 4 or not known[name][1].dim_value for name in names):
        return None
    return [known[name][1].dim_value for name in names]


def _attribute(node: onnx.NodeProto, name: str, otherwise: Any) -> Any:
    found = next((one for one in node.attribute if one.name == name), None)
    return otherwise if found is None else helper.get_attribute_value(found)
