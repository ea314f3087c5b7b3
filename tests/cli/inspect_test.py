"""`clutch inspect`: the table, the JSON, what is refused; and --inspect-every."""

import json
import re

from log_test import records_size, seal
from support import CliTest, checkpoints, egg_tensors, main, metrics, safetensors


class InspectTest(CliTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.train("run", inspect_every=5)

    def test_table(self):
        shown = self.good("inspect", "run", "--data", self.text()).decode()
        self.assertRegex(shown, r"(?m)^emb +\[256\]\[16\] +-?\d+ to \d+ ")
        self.assertRegex(shown, r"(?m)^logits +\d+ +-?\d+ to \d+ ")
        self.assertNotIn("\033", shown)  # no terminal, no colour

    def test_json(self):
        found = json.loads(self.good("inspect", "run", "--data", self.text(), "--json"))
        emb = found["tensors"][0]
        self.assertEqual((emb["name"], emb["shape"], emb["count"]), ("emb", [256, 16], 4096))
        self.assertEqual(sum(emb["histogram"]), 4096)
        self.assertGreater(emb["moved"], 0)
        self.assertEqual(found["instructions"][-1]["name"], "logits")

    def test_attention(self):
        knobs = dict(arch="transformer", dim=128, layers=2, window=4, group_size=4, inspect_every=5)
        run = self.train("attention", **knobs)
        shown = self.good("inspect", run, "--data", self.text()).decode()
        self.assertEqual(len(re.findall(r"(?m)^\S+ [01] +\d+ +\d\.\d\d +\d\.\d\d +\d+\.\d$", shown)), 4, shown)
        found = json.loads(self.good("inspect", run, "--data", self.text(), "--json"))
        heads = [head for entry in found["instructions"] for head in entry.get("heads", ())]
        self.assertEqual(len(heads), 4)
        for head in heads:
            self.assertTrue(0 < head["entropy"] < head["most"] <= 2, head)  # log2 of the window
            self.assertTrue(0.6 * 4000 < head["tokens"] < 0.8 * 4096, head)  # nearly three of four positions see another
        results = metrics(run)[-1]["inspection"]["results"].values()
        self.assertEqual(sum(len(entry.get("heads", ())) for entry in results), 4)
        self.assertIn("Attention", self.good("report", run, "-o", "-").decode())

    def test_a_file_has_no_start(self):
        model = self.good("inspect", checkpoints(self.run_folder)[-1], "--json")
        self.assertNotIn("moved", json.loads(model)["tensors"][0])

    def test_in_the_metrics(self):
        lines = metrics(self.run_folder)
        self.assertEqual([line["step"] for line in lines if "inspection" in line], [5, 10])
        tensors = lines[4]["inspection"]["tensors"]
        self.assertTrue(0 < tensors["emb"]["entropy"] <= 8)

    def test_what_looks_wrong_is_named(self):
        tensors = egg_tensors(dim=16, layers=1, vocab=256)
        shape, data = tensors["head"]
        tensors["head"] = (shape, b"\x7f" * len(data))
        model = self.file("full.safetensors", safetensors({}, tensors))
        shown = self.good("inspect", model).decode()
        self.assertIn("warning: head: 100 % of the weights are at -127 or 127", shown)

    def test_a_step_of_ties_is_named(self):
        log = self.run_folder / "fitness.log"
        content, size = log.read_bytes(), records_size(8)
        place = len(content) - size
        tied = bytes([1 + 3 + 9 + 27 + 81, 1 + 3 + 9])  # eight digits of 1, each a fitness of 0
        record = seal(content[place : place + 24] + tied, 10)
        if record is None:
            self.skipTest("libxxhash cannot be called from Python here")
        log.write_bytes(content[:place] + record)
        self.assertIn("warning: step 10: all pairs are tied", self.good("inspect", "run").decode())

    def test_refusals(self):
        self.refused("inspect", "nowhere", named=["nowhere"])
        self.refused("inspect", "run", "--data", self.text(), "--tokens", 0, named=["--tokens", "0 is outside"])
        self.refused("inspect", "run", "--data", "absent.txt", named=["absent.txt"])


if __name__ == "__main__":
    main()
