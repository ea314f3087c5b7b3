#!/usr/bin/env python3
"""Converts a model saved by nano-egg (github.com/ESHyperscale/nano-egg) to safetensors.

nano-egg's run.py saves its initial model as cached_files/<seed>_<vocabulary>_<layers>_<width>_int8.model: a
Python pickle of the tuple (frozen_params, params, scan_map, es_map) of jax arrays. It does not save trained
weights by itself; a line save(CommonInit(frozen_params, params, scan_map, es_map), "trained.model") at the end of
its run_evolution() does. A pickle can run any code when it is loaded; this reader rebuilds tuples, dicts and int8
arrays and refuses everything else, so a stranger's file is safe to convert. It needs neither jax nor numpy.

The result holds, all I8 and with the layers stacked in the first dimension (V tokens, L layers, width D):
  emb, head [V][D]    ln_out.weight [D]    blocks.ln1.weight, blocks.ln2.weight [L][D]
  blocks.att.{Wf,Uf,Wh,Uh} [L][D][D]       blocks.att.{bf,bh} [L][D]
  blocks.mlp.0.weight [L][4D][D]           blocks.mlp.1.weight [L][D][4D]
and the metadata arch = egg and activation = relu, silu, pqn or none: what nano-egg applies between the two
matrices of the MLP.

example: tools/nano_egg_to_safetensors.py cached_files/0_256_6_256_int8.model egg.safetensors
"""

import argparse
import errno
import json
import math
import os
import pickle
import struct
import sys
from typing import Any, NamedTuple


class ConversionError(Exception):
    """The input is not a model this tool converts; the message says why and what to do."""


# Stand-ins for the classes a nano-egg pickle names. They only keep what pickle hands them.


class CommonInit(NamedTuple):
    """nano-egg's class of the same name."""

    frozen_params: Any
    params: Any
    scan_map: Any
    es_map: Any


class Dtype:
    """numpy.dtype: its code, such as "i1" for int8."""

    def __init__(self, code, align=False, copy=False):
        self.code = code

    def __setstate__(self, state):
        pass  # byte order and fields, which int8 does not have


class Array:
    """numpy.ndarray: its shape, type and bytes."""

    def __setstate__(self, state):
        _version, self.shape, self.dtype, self.fortran_order, self.data = state


def reconstruct_numpy_array(array_class, shape, type_code):
    """numpy's _reconstruct: an empty array, to be filled by __setstate__."""
    if array_class is not Array:
        raise ConversionError("it holds an array of an unknown class; re-save it with nano-egg")
    return Array()


def reconstruct_jax_array(function, arguments, array_state, aval_state):
    """jax's _reconstruct_array: a numpy array, pickled in its parts."""
    if function is not reconstruct_numpy_array:
        raise ConversionError("it holds a jax array in an unknown form; re-save it with a current jax")
    array = function(*arguments)
    array.__setstate__(array_state)
    return array


KNOWN_CLASSES = {
    ("jax._src.array", "_reconstruct_array"): reconstruct_jax_array,
    ("numpy.core.multiarray", "_reconstruct"): reconstruct_numpy_array,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): reconstruct_numpy_array,  # numpy 2
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): Dtype,
    ("__main__", "CommonInit"): CommonInit,
}

ACTIVATIONS = ("relu", "silu", "pqn")


class RestrictedUnpickler(pickle.Unpickler):
    """Rebuilds the known classes from their stand-ins; a pickle that names any other is refused unrun."""

    def find_class(self, module, name):
        if (module, name) not in KNOWN_CLASSES:
            raise ConversionError(
                f"it asks for {module}.{name}, which no nano-egg model needs; it may be another program's "
                "pickle, or a harmful one"
            )
        return KNOWN_CLASSES[module, name]


def load_pickle(path):
    """Returns (frozen_params, params) of the nano-egg model in a file."""
    with open(path, "rb") as file:
        try:
            model = RestrictedUnpickler(file).load()
        except ConversionError:
            raise
        except Exception as error:  # a damaged pickle can raise anything
            raise ConversionError(f"it is not a pickle, or a damaged one ({error}); copy it again") from error
    if not isinstance(model, tuple) or len(model) != 4 or not isinstance(model[1], dict):
        raise ConversionError(
            "it is not nano-egg's tuple (frozen_params, params, scan_map, es_map); name a file that nano-egg's "
            "run.py saved"
        )
    return model[0], model[1]


def tensors_by_name(params, prefix=""):
    """Flattens nested dicts: {"ln_out": {"weight": a}} becomes {"ln_out.weight": a}."""
    if prefix.count(".") > 3:  # a pickled dict can hold itself
        raise ConversionError(f"its parameters are nested too deeply ({prefix}); it is not an egg model")
    tensors = {}
    for key, value in params.items():
        if isinstance(value, dict):
            tensors.update(tensors_by_name(value, f"{prefix}{key}."))
        else:
            tensors[f"{prefix}{key}"] = value
    return tensors


def check_array(name, array):
    """Raises unless `array` is int8, row-major and whole."""
    if not isinstance(array, Array) or not hasattr(array, "data"):
        raise ConversionError(f"{name} is a {type(array).__name__} instead of an array; re-save it with nano-egg")
    code = getattr(array.dtype, "code", "?")
    if code != "i1":
        raise ConversionError(f"{name} has elements of type {code}; only int8 models (--dtype int8) convert")
    if array.fortran_order:
        raise ConversionError(f"{name} is stored by columns; re-save it from a row-major array")
    if not isinstance(array.shape, tuple) or not all(type(size) is int for size in array.shape):
        raise ConversionError(f"{name} has the shape {array.shape!r}; copy the file again")
    if not isinstance(array.data, bytes) or len(array.data) != math.prod(array.shape):
        raise ConversionError(f"{name} does not have the bytes its shape {array.shape} needs; copy the file again")


def expected_shapes(vocabulary, layers, width):
    """The tensors of an egg model and their shapes, in the order they are written."""
    vector, matrix = (layers, width), (layers, width, width)
    return {
        "emb": (vocabulary, width),
        "blocks.ln1.weight": vector,
        "blocks.att.Wf": matrix,
        "blocks.att.Uf": matrix,
        "blocks.att.bf": vector,
        "blocks.att.Wh": matrix,
        "blocks.att.Uh": matrix,
        "blocks.att.bh": vector,
        "blocks.ln2.weight": vector,
        "blocks.mlp.0.weight": (layers, 4 * width, width),
        "blocks.mlp.1.weight": (layers, width, 4 * width),
        "ln_out.weight": (width,),
        "head": (vocabulary, width),
    }


def egg_tensors(params):
    """Returns the arrays of an egg model by name, checked, in the order they are written."""
    found = tensors_by_name(params)
    names = expected_shapes(0, 0, 0).keys()
    if found.keys() != names:
        missing, extra = sorted(names - found.keys()), sorted(found.keys() - names)
        raise ConversionError(f"it is not an egg model: it lacks {missing} and has {extra} besides")
    for name, array in found.items():
        check_array(name, array)
    if len(found["emb"].shape) != 2 or len(found["blocks.ln1.weight"].shape) != 2:
        raise ConversionError("emb and blocks.ln1.weight must have two dimensions; re-save it with nano-egg")
    vocabulary, width = found["emb"].shape
    shapes = expected_shapes(vocabulary, found["blocks.ln1.weight"].shape[0], width)
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise ConversionError(f"{name} has shape {found[name].shape} where the other tensors imply {shape}")
    return {name: found[name] for name in shapes}


def activation_of(frozen_params):
    """The name of the MLP's activation, which nano-egg keeps among the frozen parameters; "none" without."""
    value = frozen_params
    for key in ("blocks", "mlp", "activation"):
        if not isinstance(value, dict) or key not in value:
            return "none"
        value = value[key]
    if value not in ACTIVATIONS:
        raise ConversionError(f"its activation is {value!r}; known are {', '.join(ACTIVATIONS)}")
    return value


def write_safetensors(path, tensors, metadata):
    """Writes arrays by name, in order: the header's length, its JSON padded to 8 bytes, then the data."""
    header, end = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        begin, end = end, end + len(array.data)
        header[name] = {"dtype": "I8", "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if os.path.exists(path) and not os.path.isfile(path):  # renaming would replace a device
        raise OSError(errno.EEXIST, "exists and is not a regular file", str(path))
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for array in tensors.values():
                file.write(array.data)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def convert(source, target):
    """Converts the nano-egg model in the file `source` to safetensors in the file `target`."""
    frozen_params, params = load_pickle(source)
    tensors = egg_tensors(params)
    write_safetensors(target, tensors, {"arch": "egg", "activation": activation_of(frozen_params)})


def main():
    summary, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="the .model file that nano-egg saved")
    parser.add_argument("target", help="the .safetensors file to write; replaced if it exists")
    arguments = parser.parse_args()
    try:
        convert(arguments.source, arguments.target)
    except ConversionError as error:
        sys.exit(f"{arguments.source}: {error}")
    except OSError as error:
        sys.exit(f"{error.filename or arguments.target}: {error.strerror}; check the path and the space left")


if __name__ == "__main__":
    main()
