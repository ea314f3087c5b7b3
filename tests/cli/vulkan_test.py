"""Vulkan as a user meets it: runs on it are runs on anything else, validation layers say nothing, and a device that is
missing, too small or lost ends with a way out. Needs a Vulkan device: lavapipe will do."""

import json
import os
import pathlib
import re
import subprocess

from support import TINY, CliTest, digests, flags, main, program

VALIDATION = {
    "VK_LOADER_DEBUG": "layer",
    "VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation",
    "VK_LAYER_ENABLES": "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT",
    "ASAN_OPTIONS": "detect_leaks=0",  # the layers leak; the other tests look for ours
}


def listed():
    """The lines of `clutch info` on Vulkan."""
    lines = subprocess.run([program(), "info"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.strip().startswith("vulkan")]


def available():
    return any("vulkan:0" in line and "off:" not in line for line in listed())


class VulkanTest(CliTest):
    def setUp(self):
        super().setUp()
        if not available():
            self.skipTest("no Vulkan device here: " + "".join(listed()).strip())

    def environment(self, **changes):
        for name, value in changes.items():
            before = os.environ.get(name)
            os.environ[name] = str(value)
            self.addCleanup(lambda n=name, b=before: os.environ.pop(n) if b is None else os.environ.update({n: b}))

    def fault(self, what):
        """The layer of fault_layer.cc, beside the program in the build tree."""
        folder = pathlib.Path(program()).parent / "tests"
        manifest = self.folder / "fault.json"
        manifest.write_text(
            json.dumps(
                {
                    "file_format_version": "1.1.2",
                    "layer": {
                        "name": "VK_LAYER_CLUTCH_fault",
                        "type": "GLOBAL",
                        "library_path": str(folder / "libclutch_fault_layer.so"),
                        "api_version": "1.3.0",
                        "implementation_version": "1",
                        "description": "makes a device fail",
                        "functions": {
                            "vkGetInstanceProcAddr": "clutch_fault_instance_proc",
                            "vkGetDeviceProcAddr": "clutch_fault_device_proc",
                        },
                    },
                }
            )
        )
        self.environment(
            VK_LAYER_PATH=self.folder, VK_INSTANCE_LAYERS="VK_LAYER_CLUTCH_fault", CLUTCH_FAULT=what
        )

    def attempt(self, out, **knobs):
        return self.clutch("train", "--out", out, *flags({**TINY, "data": self.text(), **knobs}))

    def test_a_run_has_the_digests_of_any_other(self):
        for rule in ("threshold", "adamw"):
            knobs = dict(rule=rule, rank=3, steps=4, alpha=None, alpha_decay=None) if rule != "threshold" else {}
            for backend in ("cpu", "vulkan:0", "vulkan"):
                outcome = self.attempt(self.folder / f"{rule}-{backend}", backend=backend, **knobs)
                self.assertEqual(outcome.status, 0, outcome.err)
            expected = digests(self.folder / f"{rule}-cpu")
            self.assertEqual(digests(self.folder / f"{rule}-vulkan:0"), expected)
            self.assertEqual(digests(self.folder / f"{rule}-vulkan"), expected)

    def validated(self):
        """The lines of a short run in which the validation layers complain."""
        outcome = self.attempt(self.folder / "run", backend="vulkan:0", steps=3, validate_every=1, sample_every=2)
        self.assertEqual(outcome.status, 0, outcome.err)
        said = outcome.err + outcome.out.decode()
        if "Inserted device layer \"VK_LAYER_KHRONOS_validation\"" not in said:
            self.skipTest("vulkan-validationlayers is not installed")
        complaint = re.compile(r"VUID|UNASSIGNED|SYNC-HAZARD|Validation (Error|Warning|Performance)")
        return [line for line in said.splitlines() if complaint.search(line)]

    def test_validation_layers_say_nothing(self):
        self.environment(**VALIDATION)
        self.assertEqual(self.validated(), [])

    def test_validation_layers_would_see_a_missing_barrier(self):
        self.fault("barriers")
        layers = "VK_LAYER_CLUTCH_fault:VK_LAYER_KHRONOS_validation"  # the first is nearest to the program
        self.environment(
            **{**VALIDATION, "VK_INSTANCE_LAYERS": layers}, VK_LAYER_PATH=f"{self.folder}:/usr/share/vulkan/explicit_layer.d"
        )
        self.assertIn("SYNC-HAZARD", "\n".join(self.validated()))

    def test_a_device_lost_in_mid_run_leaves_a_run_that_goes_on_elsewhere(self):
        self.attempt(self.folder / "whole", backend="cpu")
        self.fault("lost:17")
        run = self.folder / "run"
        lost = self.attempt(run, backend="vulkan:0", checkpoint_every=2)
        self.assertEqual(lost.status, 1)
        self.assertIn("vulkan:0: was lost", lost.err)
        self.assertIn("--resume", lost.err)
        done = len(digests(run))
        self.assertGreater(done, 2)
        self.assertLess(done, TINY["steps"])
        resumed = self.clutch("train", "--resume", run, "--backend", "cpu")
        self.assertEqual(resumed.status, 0, resumed.err)
        self.assertEqual(digests(run), digests(self.folder / "whole"))

    def test_out_of_memory_is_said_with_a_way_out(self):
        self.fault("memory:200000")
        outcome = self.attempt(self.folder / "run", backend="vulkan:0")
        self.assertEqual(outcome.status, 1)
        self.assertIn("vulkan:0: is out of memory", outcome.err)
        self.assertIn("--backend cpu", outcome.err)

    def test_too_little_memory_is_refused_before_the_run_with_the_plan(self):
        self.fault("heap:20000")
        outcome = self.attempt(self.folder / "run", backend="vulkan:0")
        self.assertEqual(outcome.status, 1)
        self.assertRegex(outcome.err, r"memory: vulkan:0 about \d+\.\d MB \(weights 0\.\d, votes .*\) of 0 MB available")
        self.assertIn("--backend cpu", outcome.err)
        self.assertFalse((self.folder / "run").exists())
        self.fault("heap:20000000")
        outcome = self.attempt(self.folder / "run", backend="vulkan:0")
        self.assertEqual(outcome.status, 0, outcome.err)
        self.assertRegex(outcome.err, r"memory: about .* available; vulkan:0 about .* of 20 MB available")

    def test_a_device_without_wide_integers_is_refused(self):
        self.fault("int64")
        info = self.clutch("info")
        self.assertRegex(info.out.decode(), r"vulkan:0 +off: it has no integers of 64 bits")
        outcome = self.attempt(self.folder / "run", backend="vulkan:0")
        self.assertEqual(outcome.status, 1)
        self.assertIn("'vulkan:0' cannot run here: it has no integers of 64 bits (shaderInt64)", outcome.err)
        self.assertIn("cpu:scalar", outcome.err)

    def test_without_a_driver_or_a_loader(self):
        self.environment(VK_ICD_FILENAMES="/nonexistent", VK_DRIVER_FILES="/nonexistent")
        self.assertRegex(self.clutch("info").out.decode(), r"vulkan +off: .*driver")
        refused = self.attempt(self.folder / "a", backend="vulkan:0")
        self.assertEqual(refused.status, 1)
        self.assertIn("cpu:scalar", refused.err)
        for name in ("libvulkan.so.1", "libvulkan.so"):
            (self.folder / name).write_bytes(b"not a library")
        self.environment(LD_LIBRARY_PATH=self.folder)
        self.assertRegex(self.clutch("info").out.decode(), r"vulkan +off: .*no Vulkan loader")
        refused = self.attempt(self.folder / "b", backend="vulkan")
        self.assertEqual(refused.status, 1)
        self.assertIn("no Vulkan loader", refused.err)
        self.assertIn("libvulkan1", refused.err)


if __name__ == "__main__":
    main()
