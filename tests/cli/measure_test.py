"""tools/measure-log runs through and compares digests; its numbers are for the real sizes on an idle machine."""

import os
import re
import subprocess

from support import REPOSITORY, TIMEOUT_S, CliTest, main, program


class MeasureTest(CliTest):
    def measure(self, *words):
        done = subprocess.run(
            [REPOSITORY / "tools" / "measure-log", "--quick", "--folder", self.folder, *words], cwd=self.folder,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # Open MPI leaks
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def test_replay_and_log(self):
        status, out, err = self.measure("--clutch", program(), "--only", "replay")
        self.assertEqual((status, err), (0, ""), out)
        for shape in ("scaled", "sign"):
            self.assertRegex(out, rf"\nreplay over training, {shape} +[\d.]+  \([\d.]+ to [\d.]+ of 1\) +>= 30")
            self.assertRegex(out, rf"\nlog, % of the training, {shape} +[\d.]+  \([\d.]+ to [\d.]+ of 1\) +<= 0.5")
        self.assertEqual(list(self.folder.glob("clutch-measure-*")), [], "it cleans up")

    def test_ranks(self):
        status, out, err = self.measure("--clutch", program(), "--only", "ranks")
        if "there is no mpirun" in out or "built with MPI" in out or "has no MPI" in err:
            self.skipTest("no MPI here")
        self.assertEqual((status, err), (0, ""), out)
        self.assertRegex(out, r"\ntwo ranks over one process with two threads +[\d.]+  .* of 1\) +>= 0.93")

    def test_a_wrong_digest_is_an_error(self):
        """A clutch whose replay prints another digest than it should."""
        liar = self.file("liar", f'#!/bin/sh\n"{program()}" "$@" | if [ "$1" = replay ]; then tr 0-9a-f f0-9a-e; else cat; fi\n')
        liar.chmod(0o755)
        status, out, err = self.measure("--clutch", liar, "--only", "replay")
        self.assertEqual(status, 1)
        self.assertTrue(re.search(r"WRONG: replay ends with \w+, not \w+", out), out)
        self.assertIn("10 wrong or missed", err)

    def test_no_program(self):
        status, _, err = self.measure("--clutch", "nowhere")
        self.assertEqual(status, 1)
        self.assertIn("nowhere is no program", err)


if __name__ == "__main__":
    main()
