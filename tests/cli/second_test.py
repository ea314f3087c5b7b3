"""The program against tests/second/clutch2.py, an independent implementation of docs/NUMERICS.md in plain Python:
digests of every step, losses, held-out evaluation, and generation token for token."""

import random
import re
import struct

from support import CliTest, bin_tokens, checkpoints, egg_tensors, main, metrics, random_seed, read_safetensors, safetensors

import clutch2

FIXED_SEEDS = range(6)
RANDOM_TESTS = 3
SAMPLINGS = [  # temp, top_k, top_p, min_p
    ("0", 0, "1", "0"),
    ("1", 0, "1", "0"),
    ("0.8", 40, "0.95", "0.05"),
    ("3.7", 5, "1", "0.3"),
    ("0.33", 0, "0.5", "0"),
    ("1000", 0, "1", "0"),
]


def random_config(rng):
    texts = rng.choice([1, 2])
    group = rng.choice([2, 2, 4, 6] if texts == 1 else [2, 3, 4])
    return dict(
        dim=rng.choice([1, 3, 5, 7, 8, 9, 12, 16, 17]),
        layers=rng.choice([1, 1, 2]),
        vocab=rng.randrange(16, 41),
        dialect=rng.choice(["nano-egg", "egg.c"]),
        activation=rng.choice(["none", "relu"]),
        population=texts * group * rng.randrange(1, 5 if texts == 1 else 3),
        group_size=group,
        texts_per_pair=texts,
        noise_reuse=rng.randrange(3),
        seed=rng.choice([rng.randrange(100), rng.randrange(2**31, 2**63)]),
        rank=rng.randrange(1, 4),
        sigma_shift=rng.randrange(6),
        tokens_per_update=rng.randrange(1, 9),
        alpha=rng.choice(["1", "0.5", "0.37", "1e-1", "0.013"]),
        alpha_decay=rng.choice(["0", "0.002", "0.25"]),
        rule=rng.choice(list(clutch2.RULES)),
        momentum=rng.choice(["0", "0.5", "0.9", "0.95", "0.9999"]),
        rate=rng.choice(["0.001", "0.5", "1", "3.7", "8"]),
        square_momentum=rng.choice(["0", "0.9", "0.999"]),
        rate_decay=rng.choice(["0", "0.002", "0.25"]),
        weight_decay=rng.choice(["0", "0", "0.01", "1"]),
        schedule=rng.choice(["constant", "inverse", "root", "cosine"]),
        schedule_steps=rng.choice([0, 2, 7]),
        warmup=rng.choice([0, 0, 1, 3]),
        cooldown=rng.choice([0, 0, 2, 3]),
        fitness=rng.choice(["sign", "scaled", "scaled", "clipped", "strong", "grouped"]),
        steps=rng.randrange(3, 6),
    )


def parameters(config):
    return sum(tensor.rows * (tensor.cols or 1) for tensor in clutch2.declare(config))


def random_tokens(rng, vocab, least, most):
    """Tokens of a skewed distribution, in which documents begin now and then."""
    return [min(rng.randrange(vocab), rng.randrange(vocab)) for _ in range(rng.randrange(least, most))]


class SecondTest(CliTest):
    def compare(self, seed, **changes):
        rng = random.Random(seed)
        knobs = {**random_config(rng), **changes}
        if knobs["fitness"] == "grouped" and knobs["texts_per_pair"] * knobs["group_size"] == 2:
            knobs["fitness"] = "scaled"  # a group of one pair is refused
        with self.subTest(replay=seed, **knobs):
            config = clutch2.Config(**knobs)
            # As short as a window or longer: streams wrap round.
            tokens = random_tokens(rng, config.vocab, config.tokens_per_update + 1, 90)
            held_out = random_tokens(rng, config.vocab, 2, 200)
            text = self.file(f"{seed}.bin", bin_tokens(tokens))
            valid = self.file(f"{seed}-held-out.bin", bin_tokens(held_out))
            run = self.train(
                f"run{seed}", data=text, valid=valid, validate_every=2, valid_tokens=64 * 2, **knobs, threads=None
            )
            weights = self.compare_training(config, tokens, held_out, run)
            self.compare_evaluation(config, weights, held_out, valid, run)
            self.compare_generation(config, weights, rng, run)

    def compare_training(self, config, tokens, held_out, run):
        """The weights at the end."""
        weights, memory = clutch2.initial_weights(config), clutch2.empty_memory(config)
        lines = metrics(run)
        self.assertEqual(len(lines), config.steps)
        for line, expected in zip(lines, clutch2.train(config, tokens, weights=weights, memory=memory)):
            step = expected["step"] + 1
            self.assertEqual((step, line["digest"]), (line["step"], expected["digest"]))
            self.assertAlmostEqual(line["moved"], expected["moved"] / parameters(config), delta=1e-6)
            self.assertAlmostEqual(line["tied"], expected["fitness"].count(0) / len(expected["fitness"]), delta=1e-6)
            count = config.population * config.tokens_per_update
            self.assertAlmostEqual(line["bits_per_byte"], sum(expected["losses"]) / 2**20 / count, delta=6e-6)
            self.assertEqual(line["evaluated_tokens"], step * count)
            if step % 2 == 0 or step == config.steps:
                streams = min(64, len(held_out) - 1)
                loss, count = clutch2.evaluate_held_out(config, weights, held_out, streams, 2)
                self.assertAlmostEqual(line["valid_bits_per_byte"], loss / 2**20 / count, delta=6e-6)
            else:
                self.assertNotIn("valid_bits_per_byte", line)
        saved = clutch2.read_safetensors(config, checkpoints(run)[-1])
        self.assertEqual(saved, weights)
        self.compare_memory(config, memory, run)
        return weights

    def compare_memory(self, config, memory, run):
        """What the rule remembers, in the last checkpoint."""
        metadata, tensors = read_safetensors(checkpoints(run)[-1])
        self.assertEqual(metadata["rule"], config.rule)
        for k, name in enumerate(clutch2.RULES[config.rule].memory):
            expected = {}
            for tensor, words in zip(clutch2.declare(config), memory):
                expected.setdefault(f"{tensor.name}.{name}", []).extend(word[k] for word in words)
            for label, values in expected.items():
                self.assertEqual(list(struct.unpack(f"<{len(values)}i", tensors[label][1])), values, label)

    def compare_evaluation(self, config, weights, held_out, valid, run):
        for streams in (1, 3, 64):
            used = min(streams, len(held_out) - 1)
            loss, count = clutch2.evaluate_held_out(config, weights, held_out, used)
            outcome = self.clutch("eval", "-m", run, "--data", valid, "--streams", streams)
            self.assertEqual(outcome.out.decode(), f"{loss / 2**20 / count:.4f} bits/token\n", outcome.err)
            self.assertIn(f"{count} tokens predicted", outcome.err)

    def compare_generation(self, config, weights, rng, run):
        prompt = [rng.randrange(config.vocab) for _ in range(rng.randrange(1, 5))]
        words = " ".join(map(str, prompt))
        for temp, top_k, top_p, min_p in SAMPLINGS:
            seed = rng.choice([3, 2**62 + 5])
            expected = clutch2.generate(config, weights, prompt, 12, seed, temp, top_k, top_p, min_p)
            sampling = ["--temp", temp, "--top-k", top_k, "--top-p", top_p, "--min-p", min_p, "-s", seed]
            written = self.good("generate", "-m", run, "-p", words, "-n", 12, "--ignore-eos", *sampling).decode()
            self.assertTrue(written.startswith(words), written)
            # The first number may follow the prompt without a space; GenerateTest looks after that.
            self.assertEqual(written[len(words) :].split(), [str(token) for token in expected], f"{sampling}")

    def test_fixed_seeds(self):
        for seed in FIXED_SEEDS:
            self.compare(seed)

    def test_random_seeds(self):
        first = random_seed(self)
        for seed in range(first, first + RANDOM_TESTS):
            self.compare(seed)

    def test_corners(self):
        self.compare(100, dim=1, population=2, group_size=2, texts_per_pair=1, fitness="scaled")
        self.compare(101, fitness="scaled", population=24, group_size=2, texts_per_pair=1, noise_reuse=0, rank=3, sigma_shift=0)
        self.compare(102, alpha="0.000001")
        self.compare(103, dialect="egg.c", activation="relu", layers=3, dim=5)
        self.compare(104, rule="momentum", momentum="0", rate="8", fitness="scaled", population=24, group_size=2, texts_per_pair=1)
        self.compare(105, rule="momentum", fitness="scaled", rank=3, noise_reuse=0, steps=6)
        self.compare(106, rule="adamw", rate="8", fitness="scaled", momentum="0.9", steps=6)
        self.compare(107, rule="carry", rate="8", weight_decay="1", schedule="cosine", steps=6)
        self.compare(108, fitness="grouped", population=24, group_size=6, texts_per_pair=1)
        self.compare(109, fitness="grouped", population=24, group_size=6, texts_per_pair=2)
        self.compare(110, fitness="sign", population=18, group_size=3, texts_per_pair=2)

    def test_transformers(self):
        """Windows shorter and longer than a step, documents that begin within, states kept and not."""
        small = dict(arch="transformer", dim=64, dialect="nano-egg", activation="none", population=4, steps=3)
        self.compare(200, **small, window=5, layers=2, tokens_per_update=8, group_size=2, texts_per_pair=1)
        self.compare(201, **small, window=30, layers=1, tokens_per_update=7, group_size=4, texts_per_pair=1, rank=2)
        self.compare(202, **small, window=6, layers=1, tokens_per_update=6, group_size=2, texts_per_pair=1, carry="reset")
        self.compare(203, **{**small, "dim": 128, "steps": 2}, window=16, layers=1, tokens_per_update=16, group_size=2, texts_per_pair=1)

    def test_transformers_at_random(self):
        first = random_seed(self)
        rng = random.Random(first)
        knobs = dict(arch="transformer", dim=64, dialect="nano-egg", activation="none", population=4, group_size=2, texts_per_pair=1)
        self.compare(first, **knobs, steps=2, layers=1, window=rng.randrange(1, 12), carry=rng.choice(["keep", "reset"]))

    def test_negative_seed_is_the_seed_modulo_2_to_the_64(self):
        config = clutch2.Config(dim=4, layers=1, vocab=16, seed=2**64 - 1)
        run = self.train("run", data=self.file("t.bin", bin_tokens([1, 2, 3] * 20)), dim=4, vocab=16, seed=-1, steps=0)
        shown = self.good("info", "-m", run).decode()
        self.assertIn("digest " + clutch2.digest(config, clutch2.initial_weights(config)), shown)

    def test_alpha_above_1_is_a_schedule(self):
        """alpha 1.5 stands for alpha 1 that decays by (2^1.5 - 1) / 1000 a step."""
        tokens = list(range(16)) * 3
        knobs = dict(dim=6, vocab=16, population=8, group_size=2, texts_per_pair=1, tokens_per_update=4, steps=4)
        knobs |= dict(sigma_shift=4, fitness="sign")
        run = self.train("run", data=self.file("t.bin", bin_tokens(tokens)), valid_fraction=0, alpha="1.5", **knobs)
        config = clutch2.Config(layers=1, alpha="1", alpha_decay="0.001828427", **knobs)
        expected = [line["digest"] for line in clutch2.train(config, tokens)]
        self.assertEqual([line["digest"] for line in metrics(run)], expected)

    def test_held_out_tail(self):
        """Without --valid the last thousandths of the text are held out, and the rest is trained on."""
        rng = random.Random(9)
        tokens = random_tokens(rng, 20, 200, 201)
        knobs = dict(dim=5, vocab=20, population=4, group_size=2, texts_per_pair=1, tokens_per_update=4, steps=2)
        text = self.file("t.bin", bin_tokens(tokens))
        knobs |= dict(sigma_shift=4, fitness="sign")
        run = self.train("run", data=text, valid_fraction="0.1", validate_every=1, **knobs)
        config = clutch2.Config(layers=1, alpha="0.5", alpha_decay="0.002", **knobs)
        weights = clutch2.initial_weights(config)
        for line, expected in zip(metrics(run), clutch2.train(config, tokens[:180], weights=weights)):
            self.assertEqual(line["digest"], expected["digest"])
            loss, count = clutch2.evaluate_held_out(config, weights, tokens[180:], 19)
            self.assertAlmostEqual(line["valid_bits_per_byte"], loss / 2**20 / count, delta=6e-6)

    def test_bytes(self):
        """A vocabulary of 256, whose prompt and output are bytes."""
        knobs = dict(dim=6, vocab=256, population=4, group_size=2, texts_per_pair=1, tokens_per_update=5, steps=2, alpha_decay="0.002")
        text = self.text(300)
        knobs |= dict(sigma_shift=4, fitness="sign")
        run = self.train("run", data=text, valid_fraction=0, **knobs)
        config = clutch2.Config(layers=1, alpha="0.5", **knobs)
        weights = clutch2.initial_weights(config)
        expected = [line["digest"] for line in clutch2.train(config, list(text.read_bytes()), weights=weights)]
        self.assertEqual([line["digest"] for line in metrics(run)], expected)
        prompt = "Où"
        written = self.good("generate", "-m", run, "-p", prompt, "-n", 20, "-s", 4, "--ignore-eos", "--top-k", 0)
        tokens = clutch2.generate(config, weights, list(prompt.encode()), 20, 4, "0.8", 0, "0.95", "0.05")
        self.assertEqual(written, prompt.encode() + bytes(tokens) + b"\n")

    def test_sampling_at_its_edges(self):
        """Tokens that are all as likely: shares that a prefix meets exactly, and ties in every order."""
        config = clutch2.Config(dim=4, layers=1, vocab=16)
        tensors = {**egg_tensors(4, 1, 16), "head": ([16, 4], bytes(64))}
        model = self.file("even.safetensors", safetensors({}, tensors))
        weights = clutch2.read_safetensors(config, model)
        for top_k, top_p, min_p in ((0, "0.5", "0"), (0, "0.25", "1"), (4, "0.5", "0"), (3, "1", "1"), (0, "0", "0")):
            for temp in ("0", "1", "0.001"):
                expected = clutch2.generate(config, weights, [5], 40, 6, temp, top_k, top_p, min_p)
                sampling = ["--temp", temp, "--top-k", top_k, "--top-p", top_p, "--min-p", min_p, "-s", 6]
                written = self.good("generate", "-m", model, "-p", "5", "-n", 40, "--ignore-eos", *sampling).decode()
                self.assertEqual(written[1:].split(), [str(token) for token in expected], f"{sampling}")

    def test_version_is_the_documents(self):
        document = clutch2.__file__.replace("tests/second/clutch2.py", "docs/NUMERICS.md")
        with open(document, encoding="utf-8") as file:
            version = re.search(r"semantic version (\d+)", file.read())[1]
        self.assertIn(f"semantic version {version}\n", self.good("info").decode())


if __name__ == "__main__":
    main()
