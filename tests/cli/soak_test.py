"""tools/soak runs through: a few kills and damages of the hundreds that it is for."""

import os
import re
import subprocess

from support import REPOSITORY, TIMEOUT_S, CliTest, main, program, random_seed


class SoakTest(CliTest):
    def test_a_little(self):
        steps = "25" if os.environ.get("CLUTCH_SANITIZE") else "250"  # of 50 milliseconds or of one
        done = subprocess.run(
            [REPOSITORY / "tools" / "soak", "--clutch", program(), "--kills", "3", "--steps-per-kill", steps, "--damages", "12",
             "--seed", str(random_seed(self)), "--folder", self.folder],
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # Open MPI leaks
            cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5 * TIMEOUT_S,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, r"3 kills .* 0 reported records lost, final digest equal.*; 12 damages .* 0 faults in all")
        harmless = re.search(r"(\d+) harmless", done.stdout)
        self.assertLess(int(harmless[1]), 4, done.stdout)


if __name__ == "__main__":
    main()
