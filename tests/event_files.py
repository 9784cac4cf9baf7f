"""What event files hold, read back as TensorBoard reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.context import RequestContext
from tensorboard.data import provider
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups


def accumulator(folder: Path) -> EventAccumulator:
    """Returns all that is in the event files of a folder, not sampled."""
    return EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()


def tensors(folder: Path) -> dict[str, dict[int, np.ndarray]]:
    """Returns {tag: {step: value}} of a folder's event files."""
    read = accumulator(folder)
    return {
        tag: {event.step: tf.make_ndarray(event.tensor_proto) for event in read.Tensors(tag)}
        for tag in read.Tags()["tensors"]
    }


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Returns {tag: {step: value}} of the tags that TensorBoard shows as curves."""
    read, found = accumulator(folder), tensors(folder)
    return {
        tag: {step: value.item() for step, value in steps.items()}
        for tag, steps in found.items()
        if read.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def written(folder: Path, tag: str) -> int:
    """Returns how often a tag was written to the event files in a folder, and no deeper."""
    return sum(
        value.tag == tag
        for file in folder.glob("*tfevents*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    )


def served(folder: Path) -> TBContext:
    """Returns what TensorBoard's plugins get when it is started on a folder."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    return TBContext(logdir=str(folder), data_provider=provider, plugin_name_to_instance={})


def sessions(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the rows of TensorBoard's table of hyperparameters, by their names.

    Each is {"status", "hparams": {name: value}, "metrics": {title: value}}.
    """
    context = backend_context.Context(served(folder))
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=100, allowed_statuses=api_pb2.Status.values()
    )
    handler = list_session_groups.Handler(RequestContext(), context, "", request)
    return {group.name: _row(group) for group in handler.run().session_groups}


def columns(folder: Path) -> list[str]:
    """Returns the settings of that table in TensorBoard's order."""
    context = backend_context.Context(served(folder))
    found = context.hparams_metadata(RequestContext(), "")
    experiment = context.experiment_from_metadata(
        RequestContext(), "", True, found, provider.ListHyperparametersResult([], [])
    )
    return [info.name for info in experiment.hparam_infos]


def _row(group: api_pb2.SessionGroup) -> dict[str, Any]:
    (session,) = group.sessions
    return {
        "status": api_pb2.Status.Name(session.status).removeprefix("STATUS_"),
        "hparams": {n: getattr(v, v.WhichOneof("kind")) for n, v in group.hparams.items()},
        "metrics": {(v.name.group, v.name.tag): v.value for v in session.metric_values},
    }
