"""A transformer from outside: trained, stopped, gone on with, replayed, audited, evaluated, exported, imported, and
written by, with the commands that serve egg; and what is refused. Its numbers are in second_test.py."""

import json
import shutil

from support import CliTest, bin_tokens, checkpoints, digests, flags, main, metrics, read_safetensors, safetensors
from support import TINY

TRANSFORMER = dict(arch="transformer", dim=64, window=12, layers=2)


class TransformerTest(CliTest):
    def transformer(self, name, **knobs):
        return self.train(name, **{**TRANSFORMER, **knobs})

    def test_same_bits_everywhere(self):
        for carry in ("keep", "reset"):
            knobs = dict(steps=6, population=12, group_size=4, rank=2, carry=carry, tokens_per_update=20)
            expected = digests(self.transformer(carry, **knobs))
            self.assertEqual(len(set(expected)), 6)
            for changes in (dict(threads=3), dict(backend="reference"), dict(backend="cpu:scalar", threads=2)):
                with self.subTest(carry=carry, **changes):
                    name = f"{carry}{len(changes)}{changes.get('backend', '')}"
                    self.assertEqual(digests(self.transformer(name, **{**knobs, **changes})), expected)

    def test_a_resumed_run_is_the_run(self):
        for carry in ("keep", "reset"):
            knobs = dict(carry=carry, checkpoint_every=3, fitness="scaled")
            whole = self.transformer(carry, steps=10, **knobs)
            parts = self.transformer(carry + "-parts", steps=4, **knobs)
            self.resume(parts, steps=7)
            self.resume(parts, steps=10)
            self.assertEqual(digests(parts), digests(whole))
            ends = [checkpoints(run)[-1].read_bytes() for run in (parts, whole)]
            if carry == "keep":
                self.assertIn(b"members.states", ends[0])
            self.assertEqual(*[read_safetensors(checkpoints(run)[-1])[1] for run in (parts, whole)])

    def test_replay_and_audit(self):
        for carry in ("keep", "reset"):
            run = self.transformer(carry, carry=carry, checkpoint_every=4)
            for step in (1, 5, 10):
                self.assertEqual(self.good("replay", run, "--to", step).decode(), digests(run)[step - 1] + "\n")
            audited = self.clutch("audit", run, "--samples", 9, "--seed", 1)
            self.assertEqual(audited.status, 0, audited.err)
            self.assertIn("0 differ", audited.out.decode() + audited.err)

    def test_windows_are_as_long_as_a_step_unless_said(self):
        run = self.transformer("run", window=None, tokens_per_update=9)
        self.assertEqual(json.loads((run / "config.json").read_text())["window"], 9)
        self.assertEqual(digests(self.transformer("said", window=9, tokens_per_update=9)), digests(run))
        self.assertNotEqual(digests(self.transformer("other", window=8, tokens_per_update=9)), digests(run))
        self.assertIn("window of 9 positions", self.good("info", "-m", run).decode())

    def test_it_learns(self):
        """A text in which the letter before tells the next, from above 7 bits to below 3."""
        data = self.file("abc.txt", b"abcabd" * 2000)
        knobs = dict(data=data, population=128, tokens_per_update=16, window=16, layers=1, carry="reset", sigma_shift=3)
        lines = metrics(self.transformer("run", steps=150, threads=2, **knobs))
        self.assertGreater(lines[0]["bits_per_byte"], 7)
        self.assertLess(lines[-1]["valid_bits_per_byte"], 4)

    def test_evaluation_and_generation_are_the_same_on_every_backend(self):
        """Texts longer than a window and than a call of the backend."""
        run, text = self.transformer("run"), self.text(3000)
        for words in (["eval", "--data", text, "--streams", 2], ["generate", "-p", "the old", "-n", 40, "-s", 3]):
            outs = {
                self.good(*words, "-m", run, "--backend", backend)
                for backend in ("reference", "cpu:scalar", "cpu")
            }
            self.assertEqual(len(outs), 1, outs)

    def test_a_prompt_may_come_in_parts(self):
        """The cache carries on: what follows a prompt follows the same text written before."""
        run = self.transformer("run", window=7)
        knobs = ["--temp", 0, "--ignore-eos", "--top-k", 0]
        whole = self.good("generate", "-m", run, "-p", "hill", "-n", 30, *knobs)
        first = whole[: -1 - 20]
        file = self.file("prompt", first)
        self.assertEqual(self.good("generate", "-m", run, "-f", file, "-n", 20, *knobs), whole)

    def test_export_and_import(self):
        run = self.transformer("run")
        metadata, tensors = read_safetensors(checkpoints(run)[-1])
        tensors.pop("members.states")
        for name, kept in ("with", {"window": metadata["window"]}), ("without", {}):
            model = self.file(name + ".safetensors", safetensors(kept, tensors))
            shown = self.good("info", "-m", model).decode()
            self.assertIn("digest " + digests(run)[-1], shown)
            self.assertIn(f"window of {12 if kept else 256} positions", shown)
        text = self.text()
        evaluated = {self.good("eval", "-m", model, "--data", text) for model in (run, "with.safetensors")}
        self.assertEqual(len(evaluated), 1)
        started = self.train("started", init="with.safetensors", steps=0)
        self.assertIn("digest " + digests(run)[-1], self.good("info", "-m", started).decode())

    def test_the_largest_vocabulary(self):
        tokens = [0, 65535, 1, 40000, 17, 65535, 300, 2] * 9
        data = self.file("t.bin", bin_tokens(tokens))
        knobs = dict(data=data, vocab=65536, layers=1, population=4, tokens_per_update=4, window=4, steps=2)
        expected = metrics(self.transformer("reference", backend="reference", **knobs))
        actual = metrics(self.transformer("cpu", threads=2, **knobs))
        for name in ("digest", "bits_per_byte"):
            self.assertEqual([line[name] for line in actual], [line[name] for line in expected])
        self.assertGreater(actual[0]["bits_per_byte"], 15)


class RefusalTest(CliTest):
    def refused_training(self, *named, **knobs):
        self.refused("train", "--out", "refused", *flags({"data": self.text(), **TINY, **TRANSFORMER, **knobs}), named=named)

    def test_sizes(self):
        self.refused_training("--dim", "80", "64", dim=80)
        self.refused_training("--window", "1025", "1024", window=1025)
        self.refused_training("--window", "-1", window=-1)
        self.refused_training("--window", "2000", window=0, tokens_per_update=2000)
        self.refused_training("--window", "egg", arch="egg")
        metadata, tensors = read_safetensors(checkpoints(self.train("run", **TRANSFORMER))[-1])
        for window in ("1025", "-1", "0", "x"):  # of a file that says what no table has
            model = self.file("m.safetensors", safetensors({**metadata, "window": window}, tensors))
            self.refused("info", "-m", model, named=["m.safetensors", "window"])
        self.refused_training("--dialect", "egg.c", dialect="egg.c")
        self.refused_training("--activation", "relu", activation="relu")

    def test_tokens_beyond_the_vocabulary(self):
        tokens = self.file("t.bin", bin_tokens([5] * 300 + [700] + [5] * 99))
        self.refused_training("t.bin", "700", "300", data=tokens, vocab=700)

    def test_a_checkpoint_that_lacks_a_tensor(self):
        run = self.train("run", **TRANSFORMER, steps=2)
        path = checkpoints(run)[-1]
        metadata, tensors = read_safetensors(path)
        for name in ("members.states", "blocks.att.Wk", "first.ln.bias", "embed.weight"):
            with self.subTest(name):
                path.write_bytes(safetensors(metadata, {key: tensors[key] for key in tensors if key != name}))
                self.refused("train", "--resume", run, "--steps", 4, named=(name, "missing", path.name))
        shutil.rmtree(run / "checkpoints")
        self.resume(run, steps=4)  # from the start


if __name__ == "__main__":
    main()
