#!/usr/bin/env python3
"""Nothing that runs in a kernel calls the C++ library.

nvcc compiles such calls (constexpr functions of <bit>, say) and says nothing, whatever they become: std::countl_zero became
64 for any value, which no emulation on the CPU can show.
"""
import os
import re
import unittest

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src")
# Where code of kernels lies; vendor.h, which has functions of the host too, is left out.
KERNELS = re.compile(r"(backend/cuda/(?!vendor\.h|shim)|exact/)\w+\.h")


def headers(*paths):
    """These and what they include, as far as it has code of kernels."""
    found, waiting = set(), list(paths)
    while waiting:
        path = waiting.pop()
        if path in found or not KERNELS.fullmatch(path):
            continue
        found.add(path)
        waiting += re.findall(r'#include "([^"]+)"', source(path))
    return found


def source(path):
    with open(os.path.join(SOURCES, path), encoding="utf-8") as file:
        return file.read()


def calls(text):
    """The library's functions that a source calls; its types may be named."""
    text = re.sub(r"//[^\n]*", "", text)
    names = re.findall(r"\bstd::(\w+)\s*(?:<[^<>()]*>)?\s*\(", text)
    return [name for name in names if not re.fullmatch(r"u?int\d+_t|size_t", name)]


class KernelSources(unittest.TestCase):
    def test_none_calls_the_library(self):
        found = headers("backend/cuda/evaluate.h", "backend/cuda/update.h")
        self.assertLessEqual({"backend/cuda/rows.h", "exact/arithmetic.h", "exact/rules.h"}, found)
        for path in found:
            self.assertEqual(calls(source(path)), [], path)

    def test_calls_are_found(self):
        self.assertEqual(calls("return 63 - std::countl_zero(x);"), ["countl_zero"])
        self.assertEqual(calls("std::max<int>(a, b) // std::min(a, b)"), ["max"])
        self.assertEqual(calls("std::int32_t (&sums)[4], std::uint64_t x = std::uint64_t{1};"), [])
