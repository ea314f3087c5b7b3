"""`clutch data`: made text is the same bytes everywhere; text that holds the same tokens trains the same, whatever
form it comes in."""

import hashlib
import math
import shutil
import subprocess
from collections import Counter

from support import TINY, CliTest, bin_tokens, digests, flags, main, npy_tokens, zstd_frame

STORIES_10000_SHA256 = "c9332d085dc084537874ea5f1271a6fd84321a56d39a81c95cff0706c15af2e1"


class MakeTest(CliTest):
    def make(self, kind, **knobs):
        return self.good("data", "make", kind, *flags(knobs))

    def test_stories_are_the_same_everywhere(self):
        stories = self.make("stories", bytes=10000)
        self.assertEqual(hashlib.sha256(stories).hexdigest(), STORIES_10000_SHA256)

    def test_stories_of_a_seed(self):
        first = self.make("stories", bytes=5000, seed=3)
        self.assertEqual(self.make("stories", bytes=5000, seed=3), first)
        self.assertEqual(self.make("stories", bytes=1234, seed=3), first[:1234])
        self.assertNotEqual(self.make("stories", bytes=5000, seed=4), first)

    def test_stories_are_text_in_documents(self):
        stories = self.make("stories", bytes=50000, seed=1)
        self.assertLessEqual(set(stories), {0, 10, *range(32, 127)})
        documents = stories.split(b"\0")[:-1]
        self.assertGreater(len(documents), 30)
        self.assertEqual(len(set(documents)), len(documents))
        for document in documents:
            self.assertTrue(document.endswith(b"\n"))
            self.assertTrue(100 <= len(document.split()) <= 190, document)

    def test_exact_sizes(self):
        for size in (1, 2, 999, 65536):
            for kind in ("stories", "count"):
                self.assertEqual(len(self.make(kind, bytes=size)), size)

    def test_count(self):
        self.assertEqual(self.make("count", bytes=40, vocab=16), bytes(i % 16 for i in range(40)))
        self.assertEqual(self.make("count", bytes=300), bytes(i % 256 for i in range(300)))

    def test_to_a_file(self):
        expected = self.make("stories", bytes=3000, seed=9)
        for flag in ("-o", "--out"):
            out = self.good("data", "make", "stories", "--bytes", 3000, "--seed", 9, flag, "stories.txt")
            self.assertEqual((out, (self.folder / "stories.txt").read_bytes()), (b"", expected))
        self.assertEqual(list(self.contents()), ["stories.txt"])

    def test_into_a_pipe(self):
        """As in `clutch data make stories | clutch train --data -`."""
        maker = self.start("data", "make", "stories", "--bytes", 200000)
        trainer = self.start("train", "--out", "run", *flags({**TINY, "data": "-"}), stdin=maker.stdout)
        maker.stdout.close()
        maker.stdout = None
        self.assertEqual((trainer.wait(timeout=60), maker.wait(timeout=60)), (0, 0))
        stories = self.file("stories.txt", self.make("stories", bytes=200000))
        self.assertEqual(digests(self.folder / "run"), digests(self.train("other", data=stories)))


def entropies(tokens):
    """H(token) and H(next token | token)."""

    def of(counts):
        total = sum(counts.values())
        return -sum(n / total * math.log2(n / total) for n in counts.values())

    pairs = list(zip(tokens, tokens[1:]))
    return of(Counter(tokens)), of(Counter(pairs)) - of(Counter(first for first, _ in pairs))


class EntropyTest(CliTest):
    def entropy(self, *args):
        lines = self.good("data", "entropy", *args).decode().splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

    def test_against_counting(self):
        text = self.text(3000)
        shown = self.entropy(text)
        unigram, bigram = entropies(text.read_bytes())
        self.assertEqual(shown["tokens"], "3000")
        self.assertAlmostEqual(float(shown["unigram"]), unigram, delta=6e-5)
        self.assertAlmostEqual(float(shown["bigram"]), bigram, delta=6e-5)

    def test_simple_texts(self):
        self.assertEqual(self.entropy(self.file("a.txt", b"aaaa"))["unigram"], "0.0000")
        shown = self.entropy(self.file("c.txt", bytes(i % 16 for i in range(1600))))
        self.assertEqual((shown["unigram"], shown["bigram"]), ("4.0000", "0.0000"))

    def test_large_tokens(self):
        shown = self.entropy(self.file("t.bin", bin_tokens([0, 60000] * 8)), "--vocab", 65536)
        self.assertEqual((shown["tokens"], shown["unigram"]), ("16", "1.0000"))


class FormsTest(CliTest):
    """One text in every form. The first file's digest is what `data entropy` prints of the tokens."""

    def digest(self, *data, vocab=256, **options):
        shown = self.good("data", "entropy", *data, "--vocab", vocab, **options).decode()
        return shown.split("digest ")[1].strip()

    def test_forms_of_a_file(self):
        content = self.text(3000).read_bytes()
        tokens = list(content)
        forms = {
            "t.txt": content,
            "no-ending": content,
            "t.bin": bin_tokens(tokens),
            "u1.npy": npy_tokens(tokens, "|u1"),
            "u2.npy": npy_tokens(tokens, "<u2"),
            "i4.npy": npy_tokens(tokens, "<i4"),
            "t.zst": zstd_frame(content),
            "t.txt.zst": zstd_frame(content[:1000]) + zstd_frame(content[1000:]),
            "t.bin.zst": zstd_frame(bin_tokens(tokens)),
            "i4.npy.zst": zstd_frame(npy_tokens(tokens, "<i4")),
        }
        expected = digests(self.train("run", data=self.folder / "text.txt"))
        digest = self.digest("text.txt")
        for name, form in forms.items():
            with self.subTest(name):
                path = self.file(name, form)
                self.assertEqual(self.digest(path), digest)
                self.assertEqual(digests(self.train("run-" + name, data=path)), expected)
        with self.subTest("standard input"):
            self.assertEqual(self.digest("-", input=content), digest)
            self.good("train", "--out", "stdin", *flags({**TINY, "data": "-"}), input=content)
            self.assertEqual(digests(self.folder / "stdin"), expected)

    def test_compressed_by_the_zstd_program(self):
        if not shutil.which("zstd"):
            self.skipTest("the program zstd is not installed")
        text = self.text(300000)
        for level in ("-1", "-19", "--no-check"):
            subprocess.run(["zstd", "-q", "-f", level, text, "-o", self.folder / "t.zst"], check=True)
            self.assertEqual(self.digest("t.zst"), self.digest(text))

    def test_several_files_are_documents(self):
        a, b = self.text(1000, "a.txt"), self.file("b.bin", bin_tokens([7, 8, 9] * 100))
        joined = self.file("joined.txt", a.read_bytes() + b"\0" + bytes([7, 8, 9] * 100))
        reverse = self.file("reverse.txt", bytes([7, 8, 9] * 100) + b"\0" + a.read_bytes())
        self.assertEqual(self.digest(a, b), self.digest(joined))
        self.assertEqual(self.digest(b, a), self.digest(reverse))
        self.assertEqual(digests(self.train("one", data=joined)), digests(self.train("two", data=[a, b])))
        self.assertEqual(self.digest("a.txt", "-", input=bytes([7, 8, 9] * 100)), self.digest(joined))

    def test_a_folder_is_its_files_in_order(self):
        self.file("texts/b.txt", b"second")
        self.file("texts/a.txt", b"first")
        self.file("texts/c/d.bin", bin_tokens([65, 66]))
        self.file("texts/.hidden", b"not this")
        self.file("texts/.hidden.d/x.txt", b"nor this")
        joined = self.file("joined.txt", b"first\0second\0AB")
        self.assertEqual(self.digest("texts"), self.digest(joined))
        data = {"few": "texts", "joined": joined}
        runs = [self.train(name, data=path, valid_fraction=0) for name, path in data.items()]
        self.assertEqual(*map(digests, runs))

    def test_held_out_text_in_any_form(self):
        valid = self.text(500, "valid.txt").read_bytes()
        runs = [
            self.train(f"run{i}", valid=path)
            for i, path in enumerate((
                self.folder / "valid.txt",
                self.file("valid.npy", npy_tokens(list(valid), "|u1")),
                self.file("valid.zst", zstd_frame(valid)),
            ))
        ]  # fmt: skip
        last = [(run / "metrics.jsonl").read_text().split("valid_bits_per_byte")[1] for run in runs]
        self.assertEqual(len(set(last)), 1, last)

    def test_tokens_above_bytes(self):
        tokens = [i * i % 3000 for i in range(400)]
        knobs = dict(vocab=3000, dim=6, steps=3)
        forms = [self.file("t.bin", bin_tokens(tokens)), self.file("t.npy", npy_tokens(tokens, "<i4"))]
        runs = [self.train(f"run{i}", data=path, **knobs) for i, path in enumerate(forms)]
        self.assertEqual(*map(digests, runs))


if __name__ == "__main__":
    main()
