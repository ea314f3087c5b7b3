"""Tests of clutch2.py against published vectors and real arithmetic: python3 self_test.py"""

import json
import math
import os
import random
import re
import struct
import tempfile
import unittest
from statistics import NormalDist

import clutch2 as c

TABLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/exact/tables.inc")
CONFIG = dict(
    dim=8, layers=2, vocab=16, population=8, group_size=4, noise_reuse=2, seed=12345678901234567890, rank=2,
    sigma_shift=2, tokens_per_update=6, alpha="0.4", alpha_decay="0.01", fitness="scaled", steps=3,
)
TOKENS = [(i * i * 7 + 3 * i) % 16 for i in range(50)]


def config(**changes):
    return c.Config(**{**CONFIG, **changes})


def write_safetensors(conf, weights, path):
    data, header, joined = {}, {"__metadata__": {"made": "by a test"}}, b""
    for tensor, values in zip(c.declare(conf), weights):
        flat = c.flatten(values, tensor)
        shape = ([] if tensor.layer is None else [conf.layers]) + [tensor.rows] + ([tensor.cols] if tensor.cols else [])
        data[tensor.name] = (shape, data.get(tensor.name, (0, b""))[1] + struct.pack(f"{len(flat)}b", *flat))
    for name in sorted(data):
        shape, content = data[name]
        header[name] = {"dtype": "I8", "shape": shape, "data_offsets": [len(joined), len(joined) + len(content)]}
        joined += content
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + joined)


class Noise(unittest.TestCase):
    def test_philox_known_answers(self):
        """Vectors of the Random123 distribution."""
        pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
        ones = 0xFFFFFFFF
        for counter, key, answer in (
            ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
            ((ones,) * 4, (ones, ones), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
            (pi, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
        ):
            self.assertEqual(c.philox(counter, key), answer)

    def test_moments_over_all_words(self):
        values = [c.noise_value(u) for u in range(65536)]
        self.assertEqual((min(values), max(values), sum(values)), (-47, 47, 0))
        self.assertEqual(sum(v * v for v in values), 256 * 65536)
        kurtosis = sum(v**4 for v in values) / 65536 / 256**2 - 3
        self.assertAlmostEqual(kurtosis, -0.40, places=3)
        self.assertEqual(sorted(values), sorted(-v for v in values))

    def test_moments_of_a_stream(self):
        n = 40000
        values = c.noise(7, 1, 2, 3, 4, 5, n)
        self.assertLess(abs(sum(values) / n), 5 * 16 / n**0.5)
        self.assertLess(abs(sum(v * v for v in values) / n - 256), 5 * 256 * (1.6 / n) ** 0.5)

    def test_order_and_names(self):
        w = c.noise_block(2**40 + 9, 1, 2, 3, 4, 5, 1)
        values = c.noise(2**40 + 9, 1, 2, 3, 4, 5, 16)[8:]
        self.assertEqual(values, [c.noise_value(a) for x in w for a in (x & 0xFFFF, x >> 16)])
        names = [[9, 1, 2, 3, 4, 5]] + [[9, 1, 2, 3, 4, 5] for _ in range(6)]
        for i in range(6):
            names[i + 1][i] += 1
        self.assertEqual(len({tuple(c.noise(*name, 16)) for name in names}), 7)


class Tables(unittest.TestCase):
    def test_against_math(self):
        for j, e in enumerate(c.E):
            self.assertLess(abs(e - 2 ** (28 - j / 16)), 0.5001)
        for i, g in enumerate(c.G):
            self.assertLess(abs(g - 2**24 * math.log2(1 + i / 256)), 0.5001)
        for i, q in enumerate(c.Q):
            self.assertLess(abs(q - 2**32 * math.erfc(i / 64 / 2**0.5)), 0.5001)
        for i, x in enumerate(c.C):
            self.assertLess(abs(x - 2**29 * (1 + math.cos(math.pi * i / 256))), 0.5001)
        self.assertEqual((len(c.E), len(c.G), len(c.Q), len(c.C)), (17, 257, 321, 257))

    @unittest.skipUnless(os.path.exists(TABLES), "the program's tables are not here")
    def test_against_the_program(self):
        with open(TABLES, encoding="utf-8") as file:
            bodies = re.findall(r"\{([-\d,\s]*)\}", file.read())
        tables = [[int(v) for v in re.findall(r"-?\d+", body)] for body in bodies]
        self.assertEqual(tables[:3], [c.E, c.G, c.Q])
        self.assertEqual(tables[3:5], [c.softmax_table(), [c.gelu_of(x) for x in range(-127, 128)]])
        self.assertEqual(tables[-1], c.C)

    def test_turns(self):
        for position in (0, 1, 7, 100, 1023):
            for i, (cosine, sine) in enumerate(c.turns(position)):
                angle = position * 10000 ** (-i / 32)
                self.assertLess(abs(cosine - 2**20 * math.cos(angle)), 0.5001)
                self.assertLess(abs(sine - 2**20 * math.sin(angle)), 0.5001)


class Model(unittest.TestCase):
    def test_loss_is_cross_entropy(self):
        draw = random.Random(1)
        for vocab in (2, 16, 300):
            bound = 2**-17 + vocab * 1.5 * 2**-28
            for spread in (0, 1, 5, 30, 127):
                for _ in range(20):
                    logits = [draw.randint(-spread, spread) for _ in range(vocab)]
                    target = draw.randrange(vocab)
                    real = math.log2(math.fsum(2 ** ((v - logits[target]) / 16) for v in logits))
                    loss = c.loss_of(logits, target)
                    self.assertGreaterEqual(loss, 0)
                    self.assertLess(abs(loss / 2**20 - real), bound)

    def test_division(self):
        self.assertEqual([c.truncate(a, 4) for a in (-9, -8, -1, 0, 7, 9)], [-2, -2, 0, 0, 1, 2])
        member = c.Member(config(), [[16] * 4])
        self.assertEqual(c.norm(member, [-3, 3, 1, 0], 0, False), [-48, 48, 16, 0])
        self.assertEqual(c.norm(member, [-3, 3, 3, 3], 0, False), [-16, 16, 16, 16])
        self.assertEqual(c.norm(member, [-5, 7, 7, 7], 0, False), [-14, 18, 18, 18])
        self.assertEqual(c.norm(member, [-5, 7, 7, 7], 0, True), [-13, 18, 18, 18])

    def test_members_of_a_pair_mirror(self):
        conf = config(sigma_shift=0)
        weights = [c.shape([0] * t.rows * (t.cols or 1), t) for t in c.declare(conf)]
        factors = c.pair_noise(conf, 0, 0)
        plus, minus = (c.Member(conf, weights, factors, d) for d in (1, -1))
        x = list(range(-4, 4))
        self.assertEqual(plus.sums(x, 2), [-y for y in minus.sums(x, 2)])
        self.assertEqual(plus.row(3, 0), [-y for y in minus.row(3, 0)])
        self.assertEqual(plus.vector(1), [-y for y in minus.vector(1)])
        self.assertNotEqual(plus.sums(x, 2), minus.sums(x, 2))

    def test_token_0_starts_a_document(self):
        conf = config(vocab=16)
        weights = c.initial_weights(conf)
        text = [5, 1, 0, 7, 3]
        self.assertEqual(c.logits_of(conf, weights, text)[2:], c.logits_of(conf, weights, text[2:]))
        self.assertNotEqual(c.logits_of(conf, weights, text)[1:2], c.logits_of(conf, weights, text[1:2]))

    def test_safetensors(self):
        conf = config()
        weights = c.initial_weights(conf)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "w.safetensors")
            write_safetensors(conf, weights, path)
            self.assertEqual(c.read_safetensors(conf, path), weights)


class Training(unittest.TestCase):
    def test_quantile(self):
        for alpha in (1, 0.9, 0.5, 0.1, 0.01, 1e-4, 1e-6):
            alpha_q30 = int(alpha * 2**30)
            exact = -NormalDist().inv_cdf(alpha_q30 / 2**31)
            self.assertLess(abs(c.normal_quantile(alpha_q30) / 65536 - exact), 3e-4)
        self.assertEqual(c.normal_quantile(2**30), 0)
        self.assertEqual(c.normal_quantile(1), 320 * 1024)

    def test_alpha(self):
        self.assertEqual(c.scheduled(config(), "0.4", "1", 3), int(0.4 * 2**30) // 4)
        self.assertEqual(c.scheduled(config(), "0.000000001", "5", 1000), 1)

    def test_fitness(self):
        losses = [10, 30, 50, 50, 1000, 0, 7, 8]
        self.assertEqual(c.fitness_of("sign", losses), [1, 0, -1, 1])
        self.assertEqual(c.fitness_of("scaled", losses), [32 * 20 // 255, 0, -(32000 // 255), 0])
        self.assertEqual(c.fitness_of("grouped", losses, 4), [64, 0, -(32000 // 500), 32 // 500])
        self.assertEqual(c.fitness_of("grouped", losses, 8), c.fitness_of("scaled", losses))

    def test_threshold_moves_a_share(self):
        conf = config(dim=64, population=64, rank=1)
        tensor = c.Tensor("test", None, 64, 64, None)
        factors = []
        for pair in range(32):
            a, b = (c.noise(3, 0, pair, 0, 0, role, 64) for role in (c.ROLE_A, c.ROLE_B))
            factors.append(c.Factors([a], [b]))
        fitness = [(-1) ** p for p in range(32)]
        v = c.votes(tensor, factors, fitness)
        threshold = c.threshold_of(conf, tensor, fitness, 2**30 // 5)
        share = sum(abs(x) > threshold for row in v for x in row) / 4096
        self.assertLess(abs(share - 0.2), 0.04)

    def test_windows(self):
        conf = config()
        text = list(range(50))
        self.assertEqual(c.window(conf, text, 0, 1), list(range(25, 32)))
        self.assertEqual(c.window(conf, text, 8, 0), [48, 49, 0, 1, 2, 3, 4])

    def test_steps(self):
        lines = list(c.train(config(), TOKENS))
        self.assertEqual(lines, list(c.train(config(), TOKENS, 3)))
        self.assertEqual([line["step"] for line in lines], [0, 1, 2])
        digests = [c.digest(config(), c.initial_weights(config()))] + [line["digest"] for line in lines]
        for changes in dict(dialect="egg.c"), dict(activation="relu"), dict(seed=1), dict(rank=1), dict(fitness="sign"):
            digests += [line["digest"] for line in c.train(config(**changes), TOKENS, 2)]
        self.assertEqual(len(set(digests)), len(digests))

    def test_held_out(self):
        conf = config()
        weights = c.initial_weights(conf)
        total, count = c.evaluate_held_out(conf, weights, TOKENS, 3)
        self.assertEqual(count, 48)
        parts = [c.evaluate_held_out(conf, weights, TOKENS[s : s + 17])[0] for s in (0, 16, 32)]
        self.assertEqual(total, sum(parts))
        self.assertEqual(c.evaluate_held_out(conf, weights, TOKENS, 3, 4)[1], 12)

    def test_digest(self):
        conf = config(dim=3, layers=1, vocab=3)
        weights = c.initial_weights(conf)
        digests = {c.digest(conf, weights)}
        for values in weights:
            for row in values if isinstance(values[0], list) else [values]:
                for n in range(len(row)):
                    row[n] += 1
                    digests.add(c.digest(conf, weights))
                    row[n] -= 1
        self.assertEqual(len(digests), 1 + sum(t.rows * (t.cols or 1) for t in c.declare(conf)))


class Sampling(unittest.TestCase):
    def test_greedy_and_filters(self):
        logits = [3, 9, 9, -20]
        self.assertEqual(c.sample(logits, 0, 1, 0), 1)
        seen = {c.sample(logits, i, 1, 2**16, top_k=2) for i in range(50)}
        self.assertEqual(seen, {1, 2})
        self.assertEqual({c.sample(logits, i, 1, 2**16, top_p_q16=1) for i in range(50)}, {1})
        self.assertEqual({c.sample(logits, i, 1, 2**16, min_p_q16=2**15) for i in range(50)}, {0, 1, 2})

    def test_frequencies(self):
        logits, count = [16, 0, 8, -16], 4000
        for temperature in (0.5, 1, 2.5):
            weights = [2 ** (v / 16 / temperature) for v in logits]
            drawn = [c.sample(logits, i, 5, round(temperature * 2**16)) for i in range(count)]
            for v, weight in enumerate(weights):
                p = weight / sum(weights)
                self.assertLess(abs(drawn.count(v) / count - p), 5 * (p * (1 - p) / count) ** 0.5)

    def test_generate(self):
        conf = config()
        weights = c.initial_weights(conf)
        text = c.generate(conf, weights, [1, 2], 12, 3)
        self.assertEqual(len(text), 12)
        self.assertEqual(c.generate(conf, weights, [1, 2] + text[:5], 7, 3), text[5:])


if __name__ == "__main__":
    unittest.main()
