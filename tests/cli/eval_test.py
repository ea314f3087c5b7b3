"""`clutch eval` from outside: its number, and that it is the trainer's own."""

import re

from support import CliTest, bin_tokens, checkpoints, main, metrics, npy_tokens


class EvalTest(CliTest):
    def evaluate(self, model, data, *words):
        outcome = self.clutch("eval", "-m", model, "--data", data, *words)
        self.assertEqual(outcome.status, 0, outcome.err)
        return outcome.out.decode()

    def test_its_form(self):
        run = self.train("run")
        self.assertRegex(self.evaluate(run, self.text()), r"\A\d+\.\d{4} bits/byte\n\Z")
        tokens = self.file("t.bin", bin_tokens([1, 2, 3] * 100))
        other = self.train("other", data=tokens, vocab=20)
        self.assertRegex(self.evaluate(other, tokens), r"\A\d+\.\d{4} bits/token\n\Z")

    def test_it_is_the_trainers_number(self):
        valid = self.text(3000, "valid.txt")
        run = self.train("run", valid=valid, validate_every=5, steps=10, checkpoint_every=5)
        for checkpoint, step in zip(checkpoints(run), (5, 10)):
            bits = metrics(run)[step - 1]["valid_bits_per_byte"]
            self.assertAlmostEqual(float(self.evaluate(checkpoint, valid).split()[0]), bits, delta=6e-5)

    def test_it_is_the_trainers_number_on_the_tail_of_the_text(self):
        text = self.text(5000)
        run = self.train("run", data=text, valid_fraction="0.1")
        tail = self.file("tail.txt", text.read_bytes()[-500:])
        bits = metrics(run)[-1]["valid_bits_per_byte"]
        self.assertAlmostEqual(float(self.evaluate(run, tail).split()[0]), bits, delta=6e-5)

    def test_same_everywhere(self):
        """Exact, whatever computes it; long enough for several calls of the backend."""
        run, text = self.train("run"), self.text(5000)
        for streams in (1, 3, 64, 4999, 65536):
            bits = {
                self.evaluate(run, text, "--streams", streams, *words)
                for words in (["-t", 1], ["-t", 2], ["--backend", "reference"], ["--backend", "cpu:scalar"], [])
            }
            self.assertEqual(len(bits), 1, bits)

    def test_every_token_is_counted(self):
        run, text = self.train("run"), self.text(1001)
        for streams, predicted in ((1, 1000), (10, 1000), (64, 960), (999, 999), (1000, 1000), (65536, 1000)):
            outcome = self.clutch("eval", "-m", run, "--data", text, "--streams", streams)
            self.assertEqual(re.match(r"\d+", outcome.err)[0], str(predicted))

    def test_training_helps(self):
        run, text = self.train("run", steps=60, population=64, checkpoint_every=1, keep=100), self.text()
        first, last = [float(self.evaluate(checkpoints(run)[i], text).split()[0]) for i in (0, -1)]
        self.assertLess(last, first - 0.2)

    def test_two_tokens_are_enough(self):
        self.assertRegex(self.evaluate(self.train("run"), self.file("two.txt", b"ab")), "bits/byte")

    def test_data_in_any_form(self):
        run, text = self.train("run"), self.text(2000)
        array = self.file("t.npy", npy_tokens(list(text.read_bytes()), "<i4"))
        self.assertEqual(self.evaluate(run, array), self.evaluate(run, text))
        out = self.good("eval", "-m", run, "--data", "-", input=text.read_bytes()).decode()
        self.assertEqual(out, self.evaluate(run, text))
        both = self.file("both.txt", text.read_bytes() + b"\0" + text.read_bytes())
        self.assertEqual(self.good("eval", "-m", run, "--data", text, text).decode(), self.evaluate(run, both))

    def test_nothing_is_written(self):
        run, text = self.train("run"), self.text()
        before = self.contents()
        self.evaluate(run, text)
        self.assertEqual(self.contents(), before)


if __name__ == "__main__":
    main()
