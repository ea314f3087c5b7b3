"""`clutch parity` from outside: what it prints, its exit status, and cases that are no cases; the null backend."""

import json
import re
import struct

from support import CliTest, checkpoints, digests, main, metrics


def split(path):
    """Of a safetensors file: its header as JSON, and its data."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


class ParityTest(CliTest):
    def test_equal_backends(self):
        run = self.train("run")
        (checkpoint, *_) = checkpoints(run)
        for words in (
            ["-m", run, "--data", self.text()],
            ["-m", run, "--backend", "cpu:scalar", "--backend", "cpu", "--rule", "adamw", "--rank", 3],
            ["-m", checkpoint, "--population", 6, "--tokens", 5, "--steps", 2],
            ["--random", 5],
            ["--random", 5, "--backend", "auto"],
        ):
            shown = self.good("parity", *words).decode()
            self.assertRegex(shown, r"\A\S+ and \S+ on .*: equal; \d+ losses, \d+ logits, \d+ bytes of states, .*"
                                    r"\d+ updates, \d+ weights; digest [0-9a-f]{16}\n\Z")  # fmt: skip
        self.assertEqual(self.contents().get("parity-case.safetensors"), None)

    def test_it_goes_on_from_a_checkpoint(self):
        """Step, states and memory of the run's end: another digest than from the weights alone."""
        run = self.train("run", rule="momentum", steps=10)
        shown = self.good("parity", "-m", run).decode()
        self.assertIn("from step 10", shown)

    def test_count(self):
        lines = self.good("parity", "--random", 7, "--count", 3).decode().splitlines()
        self.assertEqual([re.search(r"program (\d+):", line)[1] for line in lines], ["7", "8", "9"])

    def different(self, *words):
        outcome = self.clutch("parity", *words)
        self.assertEqual(outcome.status, 1, outcome.err)
        self.check_refusal(outcome, "differ", "clutch parity --case")
        return outcome.out.decode()

    def test_a_difference_is_shown_kept_and_repeated(self):
        """The null backend computes nothing, so that the first instruction is at fault."""
        run = self.train("run")
        for words in (["-m", run], ["--random", 3]):
            shown = self.different(*words, "--backend", "null", "-o", "c.safetensors")
            for part in (r"step +\d+, member \d+ \(pair \d+, (plus|minus); noise of seed \d+, epoch \d+\)", r"token +\d+ of the window, input \d+",
                         r"instr\. +0 of \d+: %\d+ .*\[\d+\] = embed ", r"element +\d+: -?\d+ by reference, 0 by null",
                         r"W\[token \d+\]\[\d+\] = -?\d+"):  # fmt: skip
                self.assertRegex(shown, part)
            again = self.different("--case", "c.safetensors", "--backend", "null", "-o", "d.safetensors")
            self.assertEqual(shown.split("instr.")[1], again.split("instr.")[1])
            self.assertEqual((self.folder / "c.safetensors").read_bytes(), (self.folder / "d.safetensors").read_bytes())
            self.assertIn("equal;", self.good("parity", "--case", "c.safetensors").decode())

    def test_refusals(self):
        run = self.train("run")
        self.refused("parity", named=["--model", "--random", "--case"])
        self.refused("parity", "-m", run, "--random", 1, named=["--model"])
        self.refused("parity", "-m", "nowhere", named=["nowhere"])
        self.refused("parity", "--case", "nowhere", named=["nowhere"])
        self.refused("parity", "--random", 1, "--backend", "gpu", named=["gpu", "cpu:scalar", "auto"])
        self.refused("parity", "--random", 1, *["--backend", "cpu"] * 3, named=["--backend", "3"])
        self.refused("parity", "--random", -1, named=["--random"])
        self.refused("parity", "--random", 1, "--steps", 0, named=["--steps"])
        self.refused("parity", "--random", 1, "--count", 0, named=["--count"])
        self.refused("parity", "-m", run, "--population", 3, named=["--population"])
        self.refused("parity", "-m", run, "--tokens", 0, named=["--tokens"])
        self.refused("parity", "-m", run, "--rule", "no", named=["no"])
        self.refused("parity", "-m", run, "--rank", 0, named=["--rank"])
        self.refused("parity", "--random", 1, "--population", 4, named=["--population", "--model"])
        self.refused("parity", "-m", run, "--count", 2, named=["--count", "--random"])
        self.refused("parity", "-m", run, "--rank", 65, named=["--rank"])
        self.refused("parity", "-m", run, "--threads", -1, named=["--threads"])
        self.refused("parity", "--random", 1, "--backend", "null", "-o", "no/where", named=["no/where"])

    def test_damaged_cases(self):
        self.different("--random", 3, "--backend", "null", "-o", "c.safetensors")
        case = self.folder / "c.safetensors"
        header, data = split(case)
        refused = lambda *named: self.refused("parity", "--case", "bad.safetensors", named=["bad.safetensors", *named])  # noqa: E731

        def with_metadata(**changes):
            changed = {**header["__metadata__"], **changes}
            join(self.folder / "bad.safetensors", {**header, "__metadata__": changed}, data)

        with_metadata(clutch_case="2")
        refused()
        with_metadata(semantic_version="99")
        refused("semantic version 99")
        with_metadata(members="3")
        refused()
        with_metadata(rank="65")
        refused("rank")
        with_metadata(program="{}")
        refused("program")
        with_metadata(program=header["__metadata__"]["program"].replace('"op":"embed"', '"op":"leap"'))
        refused("leap")
        with_metadata(length="1048577")
        refused("length")
        bad = self.file("bad.safetensors", case.read_bytes()[:-1])
        refused()
        bad.write_bytes(b"GGUF" + bytes(100))
        refused("GGUF")
        run = self.train("run")
        (checkpoint, *_) = checkpoints(run)
        self.refused("parity", "--case", checkpoint, named=[checkpoint, "clutch_case"])
        self.refused("parity", "--case", run, named=[run])


class NullTest(CliTest):
    def test_it_trains_resumes_and_replays(self):
        whole = self.train("whole", backend="null", steps=8, checkpoint_every=3)
        (first, *rest) = digests(whole)
        self.assertEqual(set(rest), {first}, "weights never move")
        self.assertGreater(len({line["bits_per_byte"] for line in metrics(whole)}), 4, "losses are the noise's")
        part = self.train("part", backend="null", steps=5, checkpoint_every=3)
        self.resume(part, steps=8)
        log = (whole / "fitness.log").read_bytes()
        self.assertEqual((part / "fitness.log").read_bytes()[-200:], log[-200:])
        self.assertEqual(digests(part), digests(whole))
        out = self.good("replay", whole, "--backend", "null").decode()
        self.assertEqual(out.split()[-1], first)
        again = self.train("again", backend="null", steps=8, checkpoint_every=3, threads=2)
        self.assertEqual((again / "fitness.log").read_bytes(), log)

    def test_auto_never_takes_it(self):
        run = self.train("run")
        outcome = self.clutch("eval", "-m", run, "--data", self.text(), "--backend", "auto")
        self.assertEqual(outcome.status, 0)
        self.assertRegex(outcome.err, r"backend: auto is \S+, the fastest that can run this\n")
        self.assertNotIn("null", outcome.err)


class AutoTest(CliTest):
    def test_it_trains_as_any_other_and_says_what_it_is(self):
        expected = digests(self.train("cpu"))
        outcome = self.clutch("train", "--resume", "cpu", "--steps", 12, "--backend", "auto")
        self.assertRegex(outcome.err, r"backend: auto is (cpu:\S+|\S+:\d+)")
        self.assertEqual(digests(self.train("auto", backend="auto")), expected)
        for words in (["generate", "-m", "cpu", "-n", 5], ["inspect", "cpu", "--data", self.text()], ["replay", "cpu"]):
            outcome = self.clutch(*words, "--backend", "auto")
            self.assertEqual(outcome.status, 0, outcome.err)
            self.assertIn("backend: auto is ", outcome.err)

    def test_info_says_what_runs_a_model(self):
        shown = self.good("info", "-m", self.train("run")).decode()
        lines = shown.split("backends, the fastest first:\n")[1].splitlines()[:-1]
        self.assertEqual(sum("--backend auto" in line for line in lines), 1)
        self.assertRegex(lines[-1], r"^  null +runs it")
        self.assertIn("runs egg, transformer", self.good("info").decode())


if __name__ == "__main__":
    main()
