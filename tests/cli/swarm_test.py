"""Sanity of bench/swarm_simulation.py: limits that must hold, equal seeds, and the tables of docs/SWARM.md."""
import argparse
import importlib.util
import math
import random
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load():
    spec = importlib.util.spec_from_file_location("swarm_simulation", ROOT / "bench" / "swarm_simulation.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


swarm = load()


def arguments(**changes):
    """Of `steps`: a perfect swarm (no latency, no stragglers, no loss, equal workers, no limits), then changes."""
    args = vars(swarm.parser().parse_args(["steps"]))
    perfect = {"latency": 0.0, "stragglers": 0.0, "loss": 0.0, "spread": 0.0, "messages": math.inf,
               "bandwidth": math.inf, "egress": math.inf, "steps": 1,
               "population": 16000}  # 25 pairs a task, 8 tasks for each of 40 workers
    return argparse.Namespace(**{**args, **perfect, **changes})


def mean(policy="all", update="every", workers=40, **changes):
    return swarm.simulate(arguments(**changes), workers, policy, update)[0]


class Steps(unittest.TestCase):
    def evaluation(self, workers):
        args = arguments()
        return args.population / 2 * 2 * args.tokens * swarm.egg_weights(args.dim, args.layers) / args.speed / workers

    def test_one_perfect_worker_takes_the_sum_of_its_work(self):
        self.assertAlmostEqual(mean(workers=1) / (self.evaluation(1) * (1 + 1 / 200)), 1, places=6)

    def test_perfect_workers_share_the_evaluation_and_repeat_the_update(self):
        expected = self.evaluation(40) + self.evaluation(1) / 200
        self.assertAlmostEqual(mean() / expected, 1, places=6)

    def test_a_core_of_endless_speed_leaves_the_evaluation(self):
        self.assertAlmostEqual(mean(update="core", core=math.inf) / self.evaluation(40), 1, places=6)

    def test_latency_adds_about_the_way_of_the_record_and_of_one_task(self):
        # Requests overlap computing, so a round trip counts once; trips differ, so the bounds are loose.
        added = mean(latency=0.01, workers=4) - mean(workers=4)
        self.assertGreater(added, 0.01)
        self.assertLess(added, 0.06)

    def test_policies_stand_in_order(self):
        rough = {"latency": 0.05, "stragglers": 0.02, "loss": 0.02, "spread": 0.5, "update": "core"}
        times = {p: mean(p, **rough) for p in swarm.POLICIES}
        self.assertLess(times["95%"], times["backup"])
        self.assertLess(times["backup"], times["all"])
        self.assertLess(times["all"], times["twice"])

    def test_counted_and_handed_out(self):
        args = arguments(latency=0.05, stragglers=0.02, loss=0.02, spread=0.5)
        for policy, counted, least, most in (("all", 1, 1, 1.2), ("95%", 0.95, 0.95, 1.2), ("backup", 1, 1, 2.2),
                                             ("twice", 1, 2, 2.4)):
            _, _, efficiency, share, handed = swarm.simulate(args, 40, policy, "core")
            self.assertAlmostEqual(share, counted, delta=0.01, msg=policy)
            self.assertTrue(least <= handed <= most, (policy, handed))
            self.assertTrue(0 < efficiency <= 1, (policy, efficiency))

    def test_vanished_workers_are_made_up_for(self):
        self.assertTrue(math.isfinite(mean(loss=0.5)))
        self.assertEqual(mean(loss=1.0, workers=2), math.inf)  # nobody is left

    def test_equal_seeds_give_equal_output(self):
        flags = ["steps", "--workers", "20", "--steps", "2", "--population", "4000", "--show", "workers"]
        self.assertEqual(swarm.main(flags), swarm.main(flags))
        self.assertNotEqual(swarm.main(flags), swarm.main(flags + ["--seed", "2"]))


class Arithmetic(unittest.TestCase):
    def test_speedups(self):
        self.assertAlmostEqual(swarm.update_ratio(1000, 100), 5)
        self.assertEqual(swarm.speedup_every(1, 100), 1)
        self.assertAlmostEqual(swarm.speedup_every(10 ** 9, 100), 201, places=3)
        self.assertLess(swarm.speedup_blocks(1000, 100), 1000)

    def test_diffs(self):
        self.assertEqual(swarm.entropy_bits(0), 0)
        self.assertAlmostEqual(swarm.entropy_bits(2 / 3), math.log2(3))  # three equal values
        self.assertEqual(swarm.entropy_bits(1), 1)  # all move, up or down
        self.assertEqual(swarm.egg_weights(1, 1, 2), 2 * 2 + 12 + 4 + 1)

    def test_records(self):
        plan = swarm.traffic(1024, 10, 1000, 0.1, 64)
        self.assertEqual(plan["record"], 32 + 103)
        self.assertEqual(plan["states"], 1024 * 64)
        self.assertGreaterEqual(plan["tasks"] * plan["task_pairs"], plan["pairs"])

    def test_audits(self):
        self.assertAlmostEqual(swarm.disagreement(1), 0)
        self.assertAlmostEqual(swarm.disagreement(0.5), 0.25)
        self.assertEqual(swarm.samples_needed(1, 0.5), 7)  # 2^-7 < 1 % < 2^-6
        rng = random.Random(5)
        trials = 4000
        found = sum(any(rng.random() < 0.1 and rng.random() < 0.5 for _ in range(20)) for _ in range(trials))
        self.assertAlmostEqual(found / trials, swarm.caught(20, 1, 0.1, 0.5), delta=0.03)

    def test_shortened_windows(self):
        rng = random.Random(6)
        other = 0
        for _ in range(20000):
            seen, unseen = rng.gauss(0, 1), rng.gauss(0, 1)
            other += (seen > 0) != (seen + unseen > 0)
        self.assertAlmostEqual(other / 20000, swarm.disagreement(0.5), delta=0.02)

    def test_signal(self):
        whole = swarm.sampled_signal(0, "missing", 200, 3000, 0.2, 7)
        for kind, expected in zip(("missing", "random", "reversed"), swarm.signal(0.3)):
            ratio = swarm.sampled_signal(0.3, kind, 200, 3000, 0.2, 7) / whole
            self.assertAlmostEqual(ratio, expected, delta=0.06, msg=kind)


class Document(unittest.TestCase):
    def test_the_tables_are_the_programs(self):
        text = (ROOT / "docs" / "SWARM.md").read_text()
        for flags in (["update"], ["traffic"], ["audit"], ["signal"],
                      ["steps", "--workers", "10", "--show", "workers"]):
            for line in filter(None, swarm.main(flags).splitlines()):
                self.assertIn(line, text, flags)


if __name__ == "__main__":
    unittest.main()
