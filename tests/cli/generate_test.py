"""`clutch generate` from outside: the same text everywhere, where it stops, what it takes as prompt and model."""

import os
import signal
import subprocess
import sys

from support import REPOSITORY, TIMEOUT_S, CliTest, bin_tokens, checkpoints, digests, main, read_safetensors

import clutch2

FREE = ["--temp", 3, "--top-k", 0, "--top-p", 1, "--min-p", 0]  # lets an untrained model write any byte


class TextTest(CliTest):
    def setUp(self):
        super().setUp()
        self.model = self.train("run", steps=3)

    def write(self, *words, **options):
        return self.good("generate", "-m", self.model, *words, **options)

    def test_same_everywhere(self):
        for sampling in ([], ["--temp", 0], FREE, ["--top-k", 3, "-s", 5], ["--min-p", "0.5", "--temp", "1.7"]):
            words = ["-p", "The old", "-n", 40, "--ignore-eos", *sampling]
            written = self.write(*words)
            for same in (["--backend", "reference"], ["--backend", "cpu", "-t", 2], ["--backend", "cpu:scalar"], []):
                self.assertEqual(self.write(*words, *same), written)

    def test_seeds(self):
        texts = {self.write("-n", 40, "--ignore-eos", *FREE, "-s", seed) for seed in range(5)}
        self.assertEqual(len(texts), 5)
        same = {self.write("-n", 40, "--ignore-eos", "--temp", 0, "-s", seed) for seed in range(5)}
        self.assertEqual(len(same), 1)

    def test_length(self):
        for count in (0, 1, 7, 100):
            self.assertEqual(len(self.write("-n", count, "--ignore-eos", "-p", "ab")), 2 + count + 1)
        short = self.write("-n", 20, "--ignore-eos", *FREE)
        self.assertEqual(self.write("-n", 60, "--ignore-eos", *FREE)[:20], short[:20])

    def test_stops_where_a_document_ends(self):
        """With --ignore-eos it writes byte 0 and goes on; without, it ends there, with a new line."""
        ends = 0
        for seed in range(30):
            words = ["-n", 200, "-s", seed, *FREE]
            whole = self.write(*words, "--ignore-eos")
            self.assertEqual(len(whole), 201)
            if 0 in whole:
                self.assertEqual(self.write(*words), whole[: whole.index(0)] + b"\n")
                ends += 1
            else:
                self.assertEqual(self.write(*words), whole)
        self.assertGreater(ends, 3)

    def test_prompts(self):
        prompt = "Où est\nle\tvieux renard ?".encode()
        words = ["-n", 20, "--ignore-eos"]
        written = self.write("-p", prompt, *words)
        self.assertTrue(written.startswith(prompt))
        path = self.file("prompt.txt", prompt)
        for flag in ("-f", "--file"):
            self.assertEqual(self.write(flag, path, *words), written)
        self.assertEqual(self.write("--prompt", prompt, "--predict", 20, "--ignore-eos"), written)
        # An empty prompt starts a document: byte 0 is read, and not shown.
        empty = self.write(*words)
        self.assertEqual(self.write("-p", "", *words), empty)
        zero = self.file("zero.txt", b"\0")
        self.assertEqual(self.write("-f", zero, *words), b"\0" + empty)

    def test_any_bytes_in_a_prompt_file(self):
        prompt = bytes(range(256)) * 2
        written = self.write("-f", self.file("bytes", prompt), "-n", 5, "--ignore-eos")
        self.assertTrue(written.startswith(prompt))

    def test_it_streams(self):
        process = self.start("generate", "-m", self.model, "-n", -1, "--ignore-eos", "-p", "abc")
        self.assertEqual(os.read(process.stdout.fileno(), 3), b"abc")
        while len(os.read(process.stdout.fileno(), 100)) == 0:
            self.assertIsNone(process.poll())

    def test_interrupt(self):
        process = self.start("generate", "-m", self.model, "-n", -1, "--ignore-eos")
        os.read(process.stdout.fileno(), 10)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual((process.returncode, err), (0, b""))
        self.assertTrue(out.endswith(b"\n"))

    def test_nothing_but_text_on_stdout_and_nothing_on_stderr(self):
        outcome = self.clutch("generate", "-m", self.model, "-n", 3)
        self.assertEqual(outcome.err, "")

    def test_the_terminal_is_safe(self):
        """Control bytes that a model makes up are replaced on a terminal."""
        ours, theirs = os.openpty()
        process = self.start("generate", "-m", self.model, "-n", 300, "--ignore-eos", *FREE, stdout=theirs)
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # EIO: nobody holds the other end any more
            pass
        os.close(ours)
        self.assertEqual(process.wait(timeout=TIMEOUT_S), 0)
        self.assertGreater(len(shown), 300)
        control = [byte for byte in shown.replace(b"\r\n", b"\n") if byte < 32 and byte not in b"\n\t" or byte == 127]
        self.assertEqual(control, [])


class ModelTest(CliTest):
    def test_run_folder_and_checkpoint(self):
        run = self.train("run", steps=6, checkpoint_every=3)
        first, last = checkpoints(run)
        words = ["-n", 50, "--ignore-eos", *FREE]
        by_folder = self.good("generate", "-m", run, *words)
        self.assertEqual(self.good("generate", "-m", last, *words), by_folder)
        self.assertEqual(self.good("generate", "-m", f"{run}/", *words), by_folder)
        self.assertEqual(self.good("generate", "--model", "run", *words), by_folder)
        self.assertNotEqual(self.good("generate", "-m", first, *words), by_folder)
        self.assertIn("digest " + digests(run)[2], self.good("info", "-m", first).decode())

    def test_a_model_of_nano_egg(self):
        """Converted by the tool, it gives the tokens, losses and digest of the second implementation."""
        tool = REPOSITORY / "tools" / "nano_egg_to_safetensors.py"
        sample = REPOSITORY / "tests" / "tools" / "nano_egg_sample.model"
        model = self.folder / "egg.safetensors"
        subprocess.run([sys.executable, tool, sample, model], check=True)
        metadata, _ = read_safetensors(model)
        config = clutch2.Config(dim=8, layers=2, vocab=16, activation=metadata["activation"])
        weights = clutch2.read_safetensors(config, model)
        self.assertIn("digest " + clutch2.digest(config, weights), self.good("info", "-m", model).decode())
        prompt = [3, 1, 4, 1, 5]
        for temp in ("0", "1.5"):
            written = self.good(
                "generate", "-m", model, "-p", "3 1 4 1 5", "-n", 30, "--temp", temp, "--top-k", 0, "--top-p", 1,
                "--min-p", 0, "-s", 8, "--ignore-eos",
            ).decode()  # fmt: skip
            expected = clutch2.generate(config, weights, prompt, 30, 8, temp)
            self.assertEqual(written[len("3 1 4 1 5") :].split(), [str(token) for token in expected])
        tokens = [7 * i * i % 16 for i in range(100)]
        out = self.good("eval", "-m", model, "--data", self.file("t.bin", bin_tokens(tokens)), "--streams", 1)
        loss, count = clutch2.evaluate_held_out(config, weights, tokens)
        self.assertEqual(out.decode(), f"{loss / 2**20 / count:.4f} bits/token\n")

    def test_numbers_where_tokens_are_no_bytes(self):
        data = self.file("count.bin", bin_tokens([i % 300 for i in range(2000)]))
        run = self.train("run", data=data, vocab=300)
        written = self.good("generate", "-m", run, "-p", "297 298", "-n", 10, "--ignore-eos", *FREE).decode()
        self.assertTrue(written.endswith("\n"))
        numbers = written.split()
        self.assertEqual((numbers[:2], len(numbers)), (["297", "298"], 12), "prompt and text run together")
        self.assertTrue(all(0 <= int(number) < 300 for number in numbers))
        self.assertEqual(self.good("generate", "-m", run, "-n", 4, "--ignore-eos").decode().count(" "), 4)
        for prompt, word in (("1 300", "300"), ("1 -1", "-1"), ("one", "one"), ("1,2", "1,2")):
            self.refused("generate", "-m", run, "-p", prompt, named=["--prompt", word])
        path = self.file("prompt.txt", "5 999")
        self.refused("generate", "-m", run, "-f", path, named=[path, "999"])

    def test_it_recites_what_it_learned(self):
        """The counting text, after a second of training: a model, its saving, and its generation make sense."""
        data = self.file("count.bin", bin_tokens([i % 5 for i in range(3000)]))
        run = self.train(
            "run", data=data, vocab=5, dim=24, population=256, tokens_per_update=20, steps=250, alpha_decay="0.01",
            threads=2,
        )  # fmt: skip
        written = self.good("generate", "-m", run, "-p", "0 1 2 3 4 0", "-n", 8, "--temp", 0, "--ignore-eos").decode()
        self.assertEqual(written[len("0 1 2 3 4 0") :].split(), "1 2 3 4 0 1 2 3".split())


if __name__ == "__main__":
    main()
