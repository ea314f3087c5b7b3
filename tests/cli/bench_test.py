"""`clutch bench` measures what it says, in every format."""

import json

from support import CliTest, main

SMALL = ["--dim", "16", "--layers", "1", "--population", "4", "--warmups", "0"]


class BenchTest(CliTest):
    def bench(self, *words, repeats=3, tokens=4):
        return self.good("bench", *SMALL, "--repeats", repeats, "--tokens", tokens, *words).decode()

    def test_json(self):
        for backend in ("cpu", "cpu:scalar", "reference"):
            found = json.loads(self.bench("--format", "json", "--backend", backend, "--phases"))
            self.assertTrue(found["backend"].startswith(backend), found)
            for work in ("inference", "noisy", "step"):
                for value in found[work].values():
                    self.assertLessEqual(value["least"], value["median"])
                    self.assertLessEqual(value["median"], value["most"])
                self.assertGreater(found[work]["tokens_per_second"]["median"], 0)
            self.assertEqual(found["repeats"], 3)
            self.assertEqual(found["disturbed"], found["undisturbed"] < 3)
            if backend == "reference":
                self.assertFalse(found["disturbed"])
                self.assertEqual(found["additions_per_cycle"]["most"], 0)
            else:
                self.assertGreater(found["additions_per_cycle"]["least"], 0)
                self.assertGreater(sum(found["phases"].values()), 0.99)
            if found["backend"] in ("reference", "cpu:scalar"):  # which have no peak
                self.assertEqual(found["peak_tera_ops"]["most"], 0)
            else:
                self.assertGreater(found["peak_tera_ops"]["least"], found["step"]["tera_ops"]["median"])

    def test_what_comes_again_is_computed_once(self):
        """A token's products with the first layer's input, of which a window of one has none to repeat."""
        def computed(tokens, *words):
            return json.loads(self.bench("--format", "json", *words, repeats=1, tokens=tokens))["computed"]
        self.assertEqual(computed(1), 1)
        self.assertEqual(computed(64, "--backend", "reference"), 1)
        stories, uniform = (computed(64, "--text", text) for text in ("stories", "uniform"))
        self.assertGreater(uniform, 0.95)
        self.assertLess(stories, 0.92)
        self.assertGreater(stories, 1 - 2 / 10)  # of ten blocks of 64 by 64, two are such products

    def test_the_table_shows_what_there_is(self):
        for backend, threads, peak in (("cpu", True, True), ("cpu:scalar", True, False), ("reference", False, False)):
            table = self.bench("--backend", backend)
            self.assertEqual(" threads, " in table, threads, backend)
            self.assertEqual("undisturbed" in table, threads, backend)
            self.assertEqual("of peak" in table, peak, backend)

    def test_csv(self):
        header, *rows = [line.split(",") for line in self.bench("--format", "csv").splitlines()]
        self.assertEqual([dict(zip(header, row, strict=True))["work"] for row in rows], ["inference", "noisy", "step"])

    def test_table_says_what_counts(self):
        self.assertRegex(self.bench(), r"of 3 steps the 3 undisturbed ones count|all 3 steps count, [0-2] of them undisturbed")

    def test_patience_ends(self):
        """More threads than cores disturb each other all the time, or hardly; either way it ends."""
        found = json.loads(self.bench("--format", "json", "--patience", "1", "-t", "16", repeats=2))
        self.assertGreaterEqual(found["repeats"], 2)
        self.assertEqual(found["disturbed"], found["undisturbed"] < 2)

    def test_refusals(self):
        self.check_refusal(self.clutch("bench", "--backend", "cpu:avx3"), "cpu:avx3")
        self.check_refusal(self.clutch("bench", "--text", "stories", "--vocab", "300"), "--vocab is 300")
        self.assertNotEqual(self.clutch("bench", "--patience", "-1").status, 0)


if __name__ == "__main__":
    main()
