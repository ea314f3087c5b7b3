"""Tests of tools/nano_egg_to_safetensors.py; standard library only. Run: python3 tests/tools/nano_egg_test.py

nano_egg_sample.model is a pickle by Python 3.11, jax 0.10.2 and numpy 2.4 of what nano-egg's EGG.rand_init makes
for 16 tokens, 2 layers and width 8, its weights replaced by a pattern: element i of tensor t holds
(31 t + 7 i) mod 255 - 127.
"""

import importlib.util
import io
import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

HERE = pathlib.Path(__file__).resolve().parent
SAMPLE = HERE / "nano_egg_sample.model"
TOOL = HERE.parent.parent / "tools" / "nano_egg_to_safetensors.py"

spec = importlib.util.spec_from_file_location("nano_egg_to_safetensors", TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

EXPECTED_SHAPES = {
    "emb": [16, 8],
    "blocks.ln1.weight": [2, 8],
    "blocks.att.Wf": [2, 8, 8],
    "blocks.att.Uf": [2, 8, 8],
    "blocks.att.bf": [2, 8],
    "blocks.att.Wh": [2, 8, 8],
    "blocks.att.Uh": [2, 8, 8],
    "blocks.att.bh": [2, 8],
    "blocks.ln2.weight": [2, 8],
    "blocks.mlp.0.weight": [2, 32, 8],
    "blocks.mlp.1.weight": [2, 8, 32],
    "ln_out.weight": [8],
    "head": [16, 8],
}


def pattern(tensor, size):
    return struct.pack(f"{size}b", *((31 * tensor + 7 * i) % 255 - 127 for i in range(size)))


class Touch:
    """Pickles as a call that makes a file: what a harmful pickle would do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class NanoEggTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.target = self.folder / "egg.safetensors"

    def run_tool(self, *arguments):
        command = [sys.executable, str(TOOL), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def saved(self, model):
        path = self.folder / "a.model"
        path.write_bytes(pickle.dumps(model))
        return path

    def assert_refused(self, source, words):
        result = self.run_tool(source, self.target)
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.startswith(f"{source}: "), result.stderr)
        self.assertIn(words, result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        self.assertFalse(self.target.exists())

    def test_converts_the_sample(self):
        result = self.run_tool(SAMPLE, self.target)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        content = self.target.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        self.assertEqual(length % 8, 0)
        self.assertEqual(header.pop("__metadata__"), {"arch": "egg", "activation": "relu"})
        self.assertEqual(list(header), list(EXPECTED_SHAPES))
        place = 0
        for index, (name, shape) in enumerate(EXPECTED_SHAPES.items()):
            size = 1
            for dimension in shape:
                size *= dimension
            with self.subTest(name):
                expected = {"dtype": "I8", "shape": shape, "data_offsets": [place, place + size]}
                self.assertEqual(header[name], expected)
                self.assertEqual(data[place : place + size], pattern(index, size))
            place += size
        self.assertEqual(len(data), place)
        self.assertEqual(list(self.folder.iterdir()), [self.target])

    def test_help_teaches(self):
        result = self.run_tool("--help")
        self.assertEqual(result.returncode, 0)
        self.assertIn("blocks.mlp.0.weight [L][4D][D]", result.stdout)

    def test_runs_no_code_of_the_pickle(self):
        made = self.folder / "made"
        self.assert_refused(self.saved((None, {"emb": Touch(str(made))}, None, None)), "it asks for posix.mkdir")
        self.assertFalse(made.exists())

    def test_knows_both_names_of_numpys_module(self):
        unpickler = tool.RestrictedUnpickler(io.BytesIO())
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            self.assertIs(unpickler.find_class(module, "_reconstruct"), tool.reconstruct_numpy_array)

    def test_refuses_other_files(self):
        text = self.folder / "text"
        text.write_text("not a pickle")
        self.assert_refused(text, "it is not a pickle")
        cut = self.folder / "cut"
        cut.write_bytes(SAMPLE.read_bytes()[:1000])
        self.assert_refused(cut, "it is not a pickle, or a damaged one")
        self.assert_refused(self.saved([1, 2]), "it is not nano-egg's tuple")
        self.assert_refused(self.saved((None, {"emb": 1}, None, None)), "it lacks ['blocks.att.Uf'")
        looped = {}
        looped["a"] = looped
        self.assert_refused(self.saved((None, looped, None, None)), "nested too deeply")
        self.assert_refused(self.folder / "none", "No such file or directory")

    def test_refuses_every_truncation(self):
        sample = SAMPLE.read_bytes()
        cut = self.folder / "cut"
        for size in range(0, len(sample), 7):
            cut.write_bytes(sample[:size])
            with self.assertRaises(tool.ConversionError):
                tool.load_pickle(cut)

    def test_refuses_arrays_that_do_not_fit(self):
        cases = {
            "elements of type f4": lambda array: setattr(array, "dtype", tool.Dtype("f4")),
            "stored by columns": lambda array: setattr(array, "fortran_order", True),
            "does not have the bytes": lambda array: setattr(array, "data", array.data[1:]),
            "has the shape [2, 64]": lambda array: setattr(array, "shape", [2, 64]),
            "where the other tensors imply (2, 8, 8)": lambda array: setattr(array, "shape", (2, 4, 16)),
            "instead of an array": lambda array: delattr(array, "data"),
        }
        for words, damage in cases.items():
            with self.subTest(words):
                _, params = tool.load_pickle(SAMPLE)
                damage(params["blocks"]["att"]["Uf"])
                with self.assertRaisesRegex(tool.ConversionError, "blocks.att.Uf") as caught:
                    tool.egg_tensors(params)
                self.assertIn(words, str(caught.exception))

    def test_refuses_a_tensor_too_many(self):
        _, params = tool.load_pickle(SAMPLE)
        params["blocks"]["mlp"]["0"]["bias"] = params["ln_out"]["weight"]
        with self.assertRaisesRegex(tool.ConversionError, r"has \['blocks.mlp.0.bias'\] besides"):
            tool.egg_tensors(params)

    def test_finds_the_activation(self):
        def activation(value):
            return tool.activation_of({"blocks": {"mlp": {"activation": value}}})

        self.assertEqual(activation("silu"), "silu")
        self.assertEqual(tool.activation_of(None), "none")
        self.assertEqual(tool.activation_of({"blocks": {}}), "none")
        with self.assertRaisesRegex(tool.ConversionError, "known are relu, silu, pqn"):
            activation("gelu")

    def test_leaves_no_half_file(self):
        _, params = tool.load_pickle(SAMPLE)
        tensors = tool.egg_tensors(params)
        self.target.write_text("old")
        with mock.patch.object(tool.os, "replace", side_effect=OSError), self.assertRaises(OSError):
            tool.write_safetensors(self.target, tensors, {})
        self.assertEqual(list(self.folder.iterdir()), [self.target])
        self.assertEqual(self.target.read_text(), "old")

    def test_refuses_to_replace_what_is_no_file(self):
        result = self.run_tool(SAMPLE, self.folder)
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.startswith(f"{self.folder}: exists and is not a regular file"), result.stderr)



if __name__ == "__main__":
    unittest.main()
