"""`clutch info` and the help of every command."""

import json
import re

from support import REPOSITORY, CliTest, digests, main

COMMANDS = {
    (): [],
    ("generate",): [
        "-m", "--model", "-p", "--prompt", "-f", "--file", "-n", "--predict", "-s", "--seed", "-t", "--threads",
        "--temp", "--top-k", "--top-p", "--min-p", "--ignore-eos", "--backend",
    ],
    ("eval",): ["-m", "--model", "--data", "--streams", "-t", "--threads", "--backend"],
    ("info",): ["-m", "--model", "--ops"],
    ("parity",): [
        "-m", "--model", "--random", "--case", "--backend", "--count", "--steps", "--population", "--tokens", "--data",
        "-s", "--seed", "--rule", "--rank", "--sigma-shift", "-t", "--threads", "-o", "--out",
    ],
    ("report",): ["run", "-o", "--out"],
    ("inspect",): ["model", "--data", "--tokens", "--backend", "--json"],
    ("data",): ["make", "entropy"],
    ("data", "make"): ["stories", "count"],
    ("data", "make", "stories"): ["--bytes", "--seed", "-o", "--out"],
    ("data", "make", "count"): ["--bytes", "--vocab", "-o", "--out"],
    ("data", "entropy"): ["data", "--vocab"],
}  # fmt: skip


class InfoTest(CliTest):
    def test_versions_and_machine(self):
        shown = self.good("info").decode()
        cmake = (REPOSITORY / "CMakeLists.txt").read_text()
        version = re.search(r"project\(clutch VERSION ([\d.]+)", cmake)[1]
        self.assertIn(f"clutch {version}\n", shown)
        self.assertEqual(self.good("--version").decode().strip(), version)
        self.assertRegex(shown, r"semantic version \d+\n")
        self.assertRegex(shown, r"cpu features: .+\n")
        self.assertRegex(shown, r"threads: [1-9]\d*\n")
        backends = shown.split("backends:\n")[1].split("\n\n")[0]
        for name in ("reference", "cpu:scalar"):
            self.assertRegex(backends, rf"(?m)^ +{name} +\S")
        self.assertRegex(shown.split("architectures:\n")[1], r"(?m)^ +egg +\S")

    def test_every_backend_it_lists_trains(self):
        shown = self.good("info").decode().split("backends:\n")[1].split("\n\n")[0]
        found = [re.match(r" +(\S+) +(.*)", line).groups() for line in shown.splitlines()]
        expected = digests(self.train("run"))
        for name, summary in found:
            with self.subTest(name):
                if name == "null":  # computes nothing: its weights stay where they begin
                    self.assertEqual(len(set(digests(self.train(name, backend=name)))), 1)
                elif summary.startswith("off: "):
                    self.refused("train", "--out", "new", "--data", self.text(), "--backend", name, named=[name])
                else:
                    self.assertEqual(digests(self.train(name.replace(":", "-"), backend=name)), expected)

    def test_ops_is_the_page(self):
        page = REPOSITORY / "docs" / "OPS.md"
        if not page.exists():
            self.skipTest("docs/OPS.md does not exist")
        self.assertEqual(self.good("info", "--ops").decode(), page.read_text(encoding="utf-8"))

    def test_ops_are_those_of_the_numerics(self):
        listed = re.findall(r"^\| `(\w+)` \|", self.good("info", "--ops").decode(), re.MULTILINE)
        numerics = (REPOSITORY / "docs" / "NUMERICS.md").read_text(encoding="utf-8")
        table = numerics.split("## Ops")[1].split("## ")[0]
        self.assertEqual(listed, re.findall(r"^\| (\w+) \| `", table, re.MULTILINE))

    def test_a_model(self):
        run = self.train("run", dim=12, layers=2, activation="relu")
        shown = self.good("info", "-m", run).decode()
        self.assertTrue(shown.startswith("program egg vocab 256:"), shown)
        self.assertTrue(shown.endswith(f"digest {digests(run)[-1]}\n"))
        parameters = 2 * 256 * 12 + 2 * (4 * 144 + 2 * 4 * 144 + 4 * 12) + 12
        self.assertIn(f"{parameters} parameters, 24 states", shown)
        for name in ("blocks.mlp.1.weight[1]", "relu", "ln_out.weight", "state", "output"):
            self.assertIn(name, shown)


class HelpTest(CliTest):
    def help(self, *words):
        outcome = self.clutch(*words, "--help")
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        return outcome.out.decode()

    def test_commands(self):
        shown = self.help()
        for command in ("train", "generate", "eval", "info", "data"):
            self.assertRegex(shown, rf"(?m)^ +{command} +\S")

    def test_flags_of_train_are_the_knobs(self):
        shown = self.help("train")
        config = json.loads((self.train("run") / "config.json").read_text())
        for name in [*config, "out", "resume", "config", "log-every"]:
            flag = "--" + name.replace("_", "-")
            self.assertRegex(shown, rf"(?m)^ +(-\w,)?{flag}\b.*\n? {{2,}}\S", f"{flag} is not explained")

    def test_flags_of_the_others(self):
        for words, named in COMMANDS.items():
            shown = self.help(*words)
            for flag in named:
                with self.subTest(command=words, flag=flag):
                    self.assertRegex(shown, rf"(?m)^ +(\S+,)?{flag}[ ,].*\S")

    def test_short_help(self):
        self.assertEqual(self.good("train", "-h"), self.good("train", "--help"))

    def test_defaults_are_shown(self):
        """Those that a run with no flags at all writes into its config.json."""
        shown = self.help("train")
        self.good("train", "--data", self.text(), "--out", "run", "--steps", 0)
        config = json.loads((self.folder / "run" / "config.json").read_text())
        for key, value in config.items():
            if value not in ("", []) and key not in ("data", "steps", "schedule", "group_size"):  # made of others
                flag = "--" + key.replace("_", "-")
                self.assertRegex(shown, rf"{flag} \w+[ =:\[]*{re.escape(str(value))}\b", flag)

    def test_examples(self):
        for words in [("train",), *COMMANDS]:
            with self.subTest(command=words):
                shown = self.help(*words)
                text = "\n".join(line for line in shown.splitlines() if not line.startswith("Usage:"))
                self.assertIn(" ".join(["clutch", *words]), text, "no example")


if __name__ == "__main__":
    main()
