#!/usr/bin/env python3
"""What the vendors' compilers said of the kernels: none spills registers or keeps anything in local memory.

The build keeps it in gpu/<vendor>.report. Without that compiler the test is skipped, and counted so.
"""
import os
import re
import unittest

KERNELS = ("evaluate_window", "vote_matrices", "vote_vectors", "apply_rule")


def report(vendor):
    path = os.path.join(os.environ["CLUTCH_BUILD"], "gpu", vendor + ".report")
    if not os.path.exists(path):
        raise unittest.SkipTest(f"built without kernels of {vendor}")
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def nvidia_kernels(text):
    """(kernel, architecture, stack, spill stores, spill loads) of ptxas -v."""
    pattern = (r"Compiling entry function '(\S+)' for '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
               r"(\d+) bytes spill loads")
    return re.findall(pattern, text, re.DOTALL)


def amd_kernels(text):
    """(kernel, scratch bytes, spilled vector registers) of -Rpass-analysis=kernel-resource-usage."""
    pattern = r"Function Name: (\S+).*?ScratchSize \[bytes/lane\]: (\d+).*?VGPRs Spill: (\d+)"
    return re.findall(pattern, text, re.DOTALL)


class CompilerReport(unittest.TestCase):
    def test_nvidia(self):
        found = nvidia_kernels(report("nvidia"))
        for architecture in ("sm_80", "sm_90a"):
            names = [name for name, of, *_ in found if of == architecture]
            for kernel in KERNELS:
                self.assertTrue([n for n in names if kernel in n], f"no {kernel} for {architecture}")
            self.assertEqual(len([n for n in names if "evaluate_window" in n]), 5, "a kernel per size of tile")
        for name, architecture, *sizes in found:
            self.assertEqual([int(size) for size in sizes], [0, 0, 0], f"{name} on {architecture}")

    def test_amd(self):
        found = amd_kernels(report("amd"))
        for kernel in KERNELS:
            count = len([name for name, *_ in found if kernel in name])
            self.assertEqual(count, 4 if kernel == "evaluate_window" else 2, kernel)
        for name, scratch, spilled in found:
            self.assertEqual((int(scratch), int(spilled)), (0, 0), name)

    def test_the_patterns_find_spills(self):
        text = ("ptxas info    : Compiling entry function 'k' for 'sm_80'\nptxas info    : Function properties for k\n"
                "    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n")
        self.assertEqual(nvidia_kernels(text), [("k", "sm_80", "16", "8", "4")])
        text = ("x.cu:1:0: remark: Function Name: k [-R]\nremark:     ScratchSize [bytes/lane]: 56 [-R]\n"
                "remark:     VGPRs Spill: 13 [-R]\n")
        self.assertEqual(amd_kernels(text), [("k", "56", "13")])


if __name__ == "__main__":
    unittest.main()
