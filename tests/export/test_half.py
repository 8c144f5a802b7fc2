"""Half precision in a graph: what becomes half, what stays, and that an overflow is seen."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from zeroline.export.half import LEVELS, Islands, attention_scores, rounded, to_half
from zeroline.export.overflow import find_overflows


def weights(name, values):
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def model(nodes, initializers, *, outputs=("y",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in outputs],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(network, x):
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(
        network.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": np.asarray(x, np.float32)})


def attention():
    """Scaled scores, softmax, values, and a LayerNorm that shares its weight with a product."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "shift"], ["n"], "norm", axis=-1),
        helper.make_node("Mul", ["n", "scale"], ["q"], "query"),
        helper.make_node("Transpose", ["n"], ["k"], "key", perm=[1, 0]),
        helper.make_node("MatMul", ["q", "k"], ["s"], "product"),
        helper.make_node("Mul", ["s", "half"], ["t"], "scaled"),
        helper.make_node("Softmax", ["t"], ["a"], "softmax"),
        helper.make_node("MatMul", ["a", "n"], ["y"], "values"),
    ]
    values = [("scale", rng.uniform(0.5, 2, 4)), ("shift", rng.normal(size=4)), ("half", [0.5])]
    return model(nodes, [weights(*pair) for pair in values]), rng.normal(size=(6, 4))


def kinds(network):
    typed = onnx.shape_inference.infer_shapes(network)
    return {v.name: v.type.tensor_type.elem_type for v in typed.graph.value_info}


def test_in_and_out_stay_float32_and_the_rest_is_half():
    network, x = attention()
    half = to_half(network, Islands("none"))
    onnx.checker.check_model(half, full_check=True)
    ends = [*half.graph.input, *half.graph.output]
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}
    found = kinds(half)
    assert {found[name] for name in ("n", "q", "k", "s", "t", "a")} == {TensorProto.FLOAT16}
    assert {t.data_type for t in half.graph.initializer} == {TensorProto.FLOAT16}
    np.testing.assert_allclose(run(rounded(half), x)[0], run(network, x)[0], atol=5e-3)


def test_islands_stay_float32_and_share_weights_with_what_does_not():
    network, x = attention()
    half = to_half(network, LEVELS[-1])
    onnx.checker.check_model(half, full_check=True)
    found = kinds(half)
    assert {found[name] for name in ("n", "q", "s", "t", "a")} == {TensorProto.FLOAT}
    outputs = {o: n for n in half.graph.node for o in n.output}
    values = next(node for node in half.graph.node if node.name == "values")
    assert all(found[name] == TensorProto.FLOAT16 for name in values.input)
    assert all(outputs[name].op_type == "Cast" for name in values.input)
    layered = to_half(network, LEVELS[0])
    stored = {t.name: t.data_type for t in layered.graph.initializer}
    assert stored["scale"] == TensorProto.FLOAT  # the norm's
    assert stored["scale/half"] == TensorProto.FLOAT16  # the product's
    exact = run(network, x)[0]
    errors = [np.abs(run(rounded(to_half(network, i)), x)[0] - exact).max() for i in LEVELS]
    assert errors[-1] <= errors[0]


def test_attention_scores_are_the_product_and_what_scales_it():
    network, _ = attention()
    assert sorted(attention_scores(network)) == ["product", "query", "scaled"]


def test_an_output_that_is_taken_inside_as_well_leaves_as_float32():
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["z"], "first"),
        helper.make_node("Mul", ["z", "w"], ["y"], "second"),
    ]
    network = model(nodes, [weights("w", [1.1, 1.2, 1.3, 1.4])], outputs=("z", "y"))
    half = to_half(network, Islands("none"))
    onnx.checker.check_model(half, full_check=True)
    x = np.random.default_rng(0).normal(size=(3, 4))
    for want, got in zip(run(network, x), run(half, x), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=3e-3)


def overflowing():
    nodes = [
        helper.make_node("Mul", ["x", "up"], ["z"], "up"),
        helper.make_node("Mul", ["z", "down"], ["y"], "down"),
    ]
    return model(nodes, [weights("up", [1e4]), weights("down", [1e-4])])


def test_an_overflow_that_the_cpu_hides_is_seen():
    """onnxruntime on a CPU gave 100 where a GPU would give inf."""
    half = to_half(overflowing(), Islands("none"))
    x = np.full((1, 4), 100.0)
    assert np.isfinite(run(half, x)[0]).all()  # hidden: if this fails, `rounded` may go
    assert np.isinf(run(rounded(half), x)[0]).all()
    assert run(rounded(half), x / 50)[0] == pytest.approx(2.0, rel=2e-3)


def test_what_overflows_is_found_and_stays_in_float32():
    x = np.full((1, 4), 100.0, np.float32)
    found = find_overflows(overflowing(), [x[0]])
    assert found.nodes == {"up", "down"}  # what makes the value, and what takes it
    assert str(found) == "up"
    half = to_half(overflowing(), Islands("none"), wide=found.nodes)
    onnx.checker.check_model(half, full_check=True)
    np.testing.assert_allclose(run(rounded(half), x)[0], 100)
    assert not find_overflows(overflowing(), [x[0] / 100]).nodes


def test_each_value_is_rounded_as_numpy_rounds():
    half = to_half(overflowing(), Islands("none"))
    x = np.random.default_rng(1).uniform(0.1, 6, (5, 4)).astype(np.float32)
    short = x.astype(np.float16)
    up = (short.astype(np.float32) * np.float32(np.float16(1e4))).astype(np.float16)
    down = (up.astype(np.float32) * np.float32(np.float16(1e-4))).astype(np.float16)
    np.testing.assert_array_equal(run(rounded(half), x)[0], down.astype(np.float32))
