"""What the OpenVINO contender does, in a process of its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino

from benchmarks import cases
from benchmarks.workers import Task


def inference(options: Mapping[str, Any]) -> Task:
    """Segments images of "size", with a model compiled for that size alone.

    The model is the folder "saved_model"; or, if OpenVINO does not know an operation in it,
    "plain_model". The fact "unread" says why.
    """
    core = openvino.Core()
    unread = None
    try:
        model = core.read_model(options["saved_model"])
    except RuntimeError as error:
        unread = next((line for line in str(error).splitlines() if "--" in line), str(error))
        model = core.read_model(options["plain_model"])
    image = cases.image(options["size"])
    model.reshape({model.inputs[0]: image.shape})
    compiled = core.compile_model(
        model,
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
    )
    outputs = {name: output for output in compiled.outputs for name in output.names}
    request = compiled.create_infer_request()

    def run() -> dict[str, np.ndarray]:
        request.infer({0: image}, share_inputs=True, share_outputs=True)
        return {name: request.get_tensor(output).data for name, output in outputs.items()}

    found = run()
    np.save(options["probabilities"], _probabilities(found))
    return Task(run, {"unread": unread})


def _probabilities(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the one output with a dimension for the classes: names may be the graph's own."""
    return next(value for value in found.values() if value.ndim == 4)
