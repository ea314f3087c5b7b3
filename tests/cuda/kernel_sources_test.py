#!/usr/bin/env python3
"""Nothing that runs in a kernel calls the C++ library.

nvcc compiles such calls (constexpr functions of <bit>, say) and says nothing, whatever they become: std::countl_zero became
64 for any value, which no emulation on the CPU can show.
"""
import os
import re
import unittest

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src")
KERNELS = ("atoms", "evaluate", "noise", "update", "warp")  # of backend/cuda/
MEANING = ("arithmetic", "attention", "digest", "loss", "noise", "rules")  # of exact/, which they include


def calls(text):
    """The library's functions that a source calls; its types may be named."""
    text = re.sub(r"//[^\n]*", "", text)
    names = re.findall(r"\bstd::(\w+)\s*(?:<[^<>()]*>)?\s*\(", text)
    return [name for name in names if not re.fullmatch(r"u?int\d+_t|size_t", name)]


class KernelSources(unittest.TestCase):
    def test_none_calls_the_library(self):
        for path in [f"backend/cuda/{name}.h" for name in KERNELS] + [f"exact/{name}.h" for name in MEANING]:
            with open(os.path.join(SOURCES, path), encoding="utf-8") as file:
                self.assertEqual(calls(file.read()), [], path)

    def test_calls_are_found(self):
        self.assertEqual(calls("return 63 - std::countl_zero(x);"), ["countl_zero"])
        self.assertEqual(calls("std::max<int>(a, b) // std::min(a, b)"), ["max"])
        self.assertEqual(calls("std::int32_t (&sums)[4], std::uint64_t x = std::uint64_t{1};"), [])
