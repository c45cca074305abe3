"""SavedModel folders in and out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from eightfold.errors import ModelError
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.tf.assets import asset_paths, with_assets
from eightfold.tf.freeze import INIT_SIGNATURE, freeze, quiet, signatures_of
from eightfold.tf.reasons import reason
from eightfold.tf.session import import_graph
from eightfold.tf.variables import fill_variables

__all__ = ["is_saved_model", "read_saved_model", "write_saved_model"]


_BINARY, _TEXT = "saved_model.pb", "saved_model.pbtxt"


def is_saved_model(path: Path) -> bool:
    return any((path / name).is_file() for name in (_BINARY, _TEXT))


def read_saved_model(path: Path, tags: tuple[str, ...] | None = None) -> Model:
    """Loads a SavedModel of TensorFlow 1 or 2 with all its signatures.

    Args:
        path: the folder that holds `saved_model.pb`, or `saved_model.pbtxt`.
        tags: which meta graph; `serve`, or the only one, when left out.

    Raises:
        ModelError: the folder is damaged, has no signature, or uses ops this TensorFlow does not know.
    """
    tags = tags or _only_tags(path)
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        try:
            with quiet():
                meta_graph = tf.compat.v1.saved_model.load(session, list(tags), str(path))
        except (tf.errors.OpError, ValueError, KeyError, OSError, RuntimeError) as error:
            raise ModelError(f"{path} could not be loaded as a SavedModel: {reason(error)}") from error
        signatures = signatures_of(meta_graph, graph)
        if not signatures:
            raise ModelError(
                f"{path} has no signature to call it by; save it with one "
                "(tf.saved_model.save(..., signatures=...) or model.export(...))"
            )
        fill_variables(session, signatures, path)
        model = freeze(session, signatures, str(path), _init_ops(meta_graph))
        return with_assets(model, path, _assets(meta_graph))


def _only_tags(path: Path) -> tuple[str, ...]:
    proto = saved_model_pb2.SavedModel()
    file = path / (_BINARY if (path / _BINARY).is_file() else _TEXT)
    try:
        if file.name == _BINARY:
            proto.ParseFromString(file.read_bytes())
        else:
            text_format.Parse(file.read_text(), proto)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} is damaged: it is not a SavedModel protocol buffer") from error
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    found = [tuple(meta.meta_info_def.tags) for meta in proto.meta_graphs]
    if not found:
        raise ModelError(f"{file} holds no graph")
    return ("serve",) if ("serve",) in found else found[0]


def _init_ops(meta_graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    names = []
    if INIT_SIGNATURE in meta_graph.signature_def:
        names = [info.name for info in meta_graph.signature_def[INIT_SIGNATURE].outputs.values()]
    for key in ("saved_model_main_op", "legacy_init_op", "table_initializer"):
        names.extend(meta_graph.collection_def[key].node_list.value if key in meta_graph.collection_def else ())
    return list(dict.fromkeys(name.partition(":")[0] for name in names))


def _assets(meta_graph: meta_graph_pb2.MetaGraphDef) -> list[meta_graph_pb2.AssetFileDef]:
    """The files it brings along; TensorFlow 1 lists them in a collection."""
    assets = list(meta_graph.asset_file_def)
    for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
        assets.append(meta_graph_pb2.AssetFileDef())
        packed.Unpack(assets[-1])
    return assets


def write_saved_model(model: Model, folder: Path) -> None:
    """Writes a SavedModel that any TensorFlow loads, Serving included.

    Args:
        model: what to write.
        folder: must not exist yet.
    """
    graph = import_graph(model.graph)
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session, quiet():
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            assets_collection=[graph.get_tensor_by_name(f"{name}:0") for name in asset_paths(model)],
            signature_def_map={name: _definition(s, graph) for name, s in model.signatures.items()},
            main_op=tf.group(*(graph.get_operation_by_name(n) for n in model.init)) if model.init else None,
            strip_default_attrs=True,
        )
        builder.save()


def _definition(signature: Signature, graph: Any) -> Any:
    return tf.compat.v1.saved_model.signature_def_utils.build_signature_def(
        _infos(signature.inputs, graph), _infos(signature.outputs, graph), signature.method
    )


def _infos(specs: Mapping[str, TensorSpec], graph: Any) -> dict[str, meta_graph_pb2.TensorInfo]:
    infos = {}
    for key, spec in specs.items():
        info = tf.compat.v1.saved_model.utils.build_tensor_info(graph.get_tensor_by_name(str(spec.ref)))
        info.tensor_shape.CopyFrom(tf.TensorShape(spec.shape if spec.shape.known_rank else None).as_proto())
        infos[key] = info
    return infos
