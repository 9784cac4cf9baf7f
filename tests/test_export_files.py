"""SavedModels that are programs: refused before any of them runs."""

import inspect

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.runs import call, one_line
from tf_advseg.errors import InputError
from tf_advseg.evaluation import export_files
from tf_advseg.evaluation.export_files import check_graph, newest_version
from tf_advseg.evaluation.exported import load_exported

IMAGE = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")


def write_file(path):
    tf.io.write_file(path, "evil")
    return 1.0


def print_to_file(path):
    tf.print("evil", output_stream=f"file://{path}")
    return 1.0


def in_a_branch(path):
    tf.cond(tf.random.uniform([]) < 2, lambda: write_file(path), lambda: 1.0)
    return 1.0


def save(path):
    tf.raw_ops.SaveV2(prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[1.0])
    return 1.0


PROGRAMS = {
    "WriteFile": write_file,
    "PrintV2, StringFormat": print_to_file,
    "SaveV2": save,
    "ReadFile": lambda path: tf.io.read_file(path),
    "MatchingFiles": lambda path: tf.io.matching_files("/etc/*"),
    "EagerPyFunc": lambda path: tf.py_function(lambda: 1.0, [], tf.float32),
    "RestoreV2": lambda path: tf.raw_ops.RestoreV2(
        prefix=path, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0],
    "ImmutableConst": lambda path: tf.raw_ops.ImmutableConst(
        dtype=tf.float32, shape=[4], memory_region_name=path
    ),
    "RandomUniform, WriteFile": in_a_branch,
}


def export(folder, program, path):
    """Writes a SavedModel whose signature runs a program on a path."""

    class Module(tf.Module):
        @tf.function
        def inner(self):
            return program(path)

        @tf.function(input_signature=[IMAGE])
        def serve(self, image):
            return {"confidence": tf.convert_to_tensor(self.inner())}

    module = Module()
    module.weight = tf.Variable(1.0)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def change(folder, edit):
    """Edits the proto of a SavedModel."""
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    edit(model)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("operations", PROGRAMS)
def test_programs_are_refused_before_they_run(operations, tmp_path):
    made = tmp_path / "made"
    folder = export(tmp_path / "1", PROGRAMS[operations], str(made))
    with pytest.raises(InputError, match=f"has the operations '{operations}', which may do more"):
        load_exported(tmp_path)
    assert not made.exists()
    if PROGRAMS[operations] is write_file:
        tf.saved_model.load(str(folder)).signatures["serving_default"](
            tf.zeros([1, 1, 1, 3], tf.uint8)
        )
        assert made.read_text() == "evil"  # So it would have run.


def test_what_only_computes_passes(tmp_path):
    folder = export(tmp_path / "1", lambda path: tf.reduce_mean([1.0, 2.0]), "")
    check_graph(folder)  # With the functions that TensorFlow saves and restores by.
    graph = (folder / "saved_model.pb").read_bytes()
    assert b"SaveV2" in graph and b"RestoreV2" in graph


@pytest.mark.parametrize("way", ["object", "function", "operation", "graph"])
def test_saving_that_can_be_called_is_refused(way, tmp_path):
    folder = export(tmp_path / "1", lambda path: tf.reduce_mean([1.0, 2.0]), "")

    def lead_to_it(model):
        graph = model.meta_graphs[0]
        functions = graph.graph_def.library.function
        [saver] = [f for f in functions if any(node.op == "SaveV2" for node in f.node_def)]
        [inner] = [f for f in functions if "inner" in f.signature.name]
        name = saver.signature.name
        if way == "object":
            graph.object_graph_def.concrete_functions[name].SetInParent()
        elif way == "function":
            inner.node_def[0].attr["f"].func.name = name
        elif way == "operation":
            inner.node_def.add(name="a", op=name)
        else:
            graph.graph_def.node.add(name="a", op="SaveV2")

    change(folder, lead_to_it)
    with pytest.raises(InputError, match=r"has the operations '.*SaveV2"):
        check_graph(folder)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda model: model.meta_graphs.add(), "no graph of objects"),
        (lambda model: model.meta_graphs[0].ClearField("object_graph_def"), "no graph of objects"),
        (lambda model: model.ClearField("meta_graphs"), "no graph of objects"),
    ],
)
def test_graphs_that_a_session_would_run_are_refused(edit, words, tmp_path):
    folder = export(tmp_path / "1", lambda path: 1.0, "")
    change(folder, edit)
    with pytest.raises(InputError, match=words):
        check_graph(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff" * 100, "its graph cannot be read"), (b"", "no graph of objects")],
)
def test_damaged_graph_is_told_in_a_line(content, words, tmp_path, capsys):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(content)
    (tmp_path / "images").mkdir()
    flags = ("--saved_model", tmp_path, "--images", tmp_path / "images", "--save_masks", tmp_path)
    assert call("evaluate", *flags) == 2
    one_line(capsys.readouterr().err, words)


def test_huge_graph_is_refused(tmp_path):
    with (tmp_path / "saved_model.pb").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="is too large; allowed: "):
        check_graph(tmp_path)


def test_newest_version_is_taken(tmp_path):
    for name in ("2", "10", "latest", "11"):
        (tmp_path / name).mkdir()
    for name in ("2", "10", "latest"):
        (tmp_path / name / "saved_model.pb").touch()
    assert newest_version(tmp_path) == tmp_path / "10"
    assert newest_version(tmp_path / "latest") == tmp_path / "latest"
    for name in ("11", "none"):
        with pytest.raises(InputError, match="holds no SavedModel"):
            newest_version(tmp_path / name)


def test_operations_that_compute_take_no_names_of_files():
    suspicious = ("file", "path", "prefix", "address", "token", "region", "output_stream")
    for name in export_files._COMPUTING:
        arguments = inspect.signature(getattr(tf.raw_ops, name)).parameters
        assert not [a for a in arguments if any(word in a for word in suspicious)], name
