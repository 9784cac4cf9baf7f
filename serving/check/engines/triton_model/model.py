"""Serves a SavedModel in Triton's Python backend: what Triton runs, and nothing of this project.

Lies as MODEL/1/model.py in a model repository, beside the SavedModel's folder `saved_model`.
"""

from pathlib import Path

import tensorflow as tf
import triton_python_backend_utils as triton

_OUTPUTS = ("class_ids", "probabilities", "confidence")


class TritonPythonModel:
    """The class that Triton looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"] / "saved_model"
        self._model = tf.saved_model.load(str(folder))
        self._serve = self._model.signatures["serving_default"]

    def execute(self, requests: list) -> list:
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        image = triton.get_input_tensor_by_name(request, "image").as_numpy()
        try:
            served = self._serve(image=tf.constant(image))
        except tf.errors.OpError as error:
            return triton.InferenceResponse(error=triton.TritonError(error.message))
        return triton.InferenceResponse(
            [triton.Tensor(name, served[name].numpy()) for name in _OUTPUTS]
        )
