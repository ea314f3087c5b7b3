"""The fitness log at the command line: replay, pack, audit, diff, and what a kill leaves of a run."""

import ctypes
import ctypes.util
import json
import random
import re
import shutil
import struct
import time

from support import TINY, CliTest, checkpoints, digests, flags, main, metrics, random_seed

HEADER = 40


def records_size(pairs, scaled=False):
    return 32 + (pairs if scaled else (pairs + 4) // 5)


def flip(path, place, mask=0x10):
    content = bytearray(path.read_bytes())
    content[place] ^= mask
    path.write_bytes(content)


def seal(body, place):
    """A record's or header's bytes with their checksum, or None where there is no libxxhash to call."""
    name = ctypes.util.find_library("xxhash")
    if not name:
        return None
    hash64 = ctypes.CDLL(name).XXH3_64bits_withSeed
    hash64.restype, hash64.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return body + struct.pack("<Q", hash64(body, len(body), place))


def read_log(path):
    """The log as docs/FORMATS.md has it: header fields, and [(step, loss, digest, fitness)]."""
    content = path.read_bytes()
    magic, form, version, pairs, shape, start = struct.unpack_from("<8sIIIIQ", content)
    assert (magic, form, version) == (b"CLUTCHFL", 1, 1)
    size = records_size(pairs, shape == 1)
    records = []
    for place in range(HEADER, len(content), size):
        step, loss, digest = struct.unpack_from("<QqQ", content, place)
        packed = content[place + 24 : place + size - 8]
        if shape == 1:
            fitness = list(struct.unpack(f"{pairs}b", packed))
        else:
            fitness = [byte // 3**i % 3 - 1 for byte in packed for i in range(5)][:pairs]
        records.append((step, loss, f"{digest:016x}", fitness))
    return (pairs, shape, f"{start:016x}"), records


class LogFileTest(CliTest):
    def test_another_reader(self):
        """Read by FORMATS.md alone, the log says what metrics.jsonl says."""
        for fitness in ("sign", "scaled"):
            run = self.train(fitness, population=14, fitness=fitness, steps=6, checkpoint_every=0, seed=4)
            (pairs, _, _), records = read_log(run / "fitness.log")
            self.assertEqual(pairs, 7)
            self.assertEqual([record[0] for record in records], list(range(6)))
            self.assertEqual([record[2] for record in records], digests(run))
            for (_, loss, _, values), line in zip(records, metrics(run)):
                self.assertAlmostEqual(loss / 2**20 / (14 * 8), line["bits_per_byte"], places=4)
                self.assertAlmostEqual(values.count(0) / 7, line["tied"], places=5)
                self.assertLessEqual(max(map(abs, values)), 127 if fitness == "scaled" else 1)


class ReplayTest(CliTest):
    def test_every_step(self):
        run = self.train("run", steps=9, checkpoint_every=4, fitness="scaled")
        (_, _, start), _ = read_log(run / "fitness.log")
        wanted = [start] + digests(run)
        for backend in ("reference", "cpu"):
            for step in (0, 1, 4, 5, 9):
                out = self.good("replay", "run", "--to", step, "--backend", backend)
                self.assertEqual(out.decode(), wanted[step] + "\n")
        self.assertEqual(self.good("replay", "run").decode(), wanted[9] + "\n")
        self.assertEqual(self.good("replay", "run", "--to", -1).decode(), wanted[9] + "\n")
        self.refused("replay", "run", "--to", 10, named=["run", "9 steps", "10"])
        self.refused("replay", "run", "--to", -2, named=["--to", "-2"])
        self.refused("replay", "nowhere", named=["nowhere"])
        self.refused("replay", "run", "--backend", "gpu", named=["gpu"])

    def test_out(self):
        """The rebuilt model is the training's, and is used like any other."""
        run = self.train("run", steps=8, checkpoint_every=4)
        self.good("replay", "run", "--to", 4, "--out", "four.safetensors")
        outcome = self.clutch("diff", "four.safetensors", run / "checkpoints" / "step-00000004.safetensors")
        self.assertEqual((outcome.status, outcome.out), (0, b"equal\n"))
        self.assertNotEqual(self.clutch("diff", "four.safetensors", "run").status, 0)
        self.good("generate", "-m", "four.safetensors", "-n", 3)

    def test_a_tampered_log(self):
        """A record written anew with another fitness and a good checksum: replay names the step, audit the pair."""
        run = self.train("run", steps=8, checkpoint_every=0)
        path, (header, records) = run / "fitness.log", read_log(run / "fitness.log")
        content = bytearray(path.read_bytes())
        place = HEADER + 5 * records_size(8)
        body = bytearray(content[place : place + 24 + 2])
        fitness = [-f or 1 for f in records[5][3]]
        body[24] = sum((f + 1) * 3**i for i, f in enumerate(fitness[:5]))
        body[25] = sum((f + 1) * 3**i for i, f in enumerate(fitness[5:]))
        record = seal(bytes(body), 6)
        if record is None:
            self.skipTest("libxxhash cannot be called from Python here")
        content[place : place + len(record)] = record
        path.write_bytes(content)
        shutil.rmtree(run / "checkpoints")
        self.assertEqual(header, read_log(path)[0])
        self.refused("replay", "run", named=["run", "after step 6 the digest is "])
        self.good("replay", "run", "--to", 5)
        for words in (["--all"], ["--samples", 500]):
            outcome = self.clutch("audit", "run", *words)
            self.assertEqual(outcome.status, 1)
            self.assertIn("step 6 pair 0: the log says ", outcome.out.decode())
            self.assertNotIn("step 5 pair", outcome.out.decode())

    def test_a_damaged_log(self):
        run = self.train("run", steps=8, checkpoint_every=4)
        expected, content = digests(run), (run / "fitness.log").read_bytes()
        flip(run / "fitness.log", HEADER + 6 * records_size(8) + 9)
        outcome = self.clutch("replay", "run")
        self.assertEqual((outcome.status, outcome.out.decode()), (0, expected[5] + "\n"))
        self.assertIn(f"note: run/fitness.log: record 6 at byte {HEADER + 6 * records_size(8)} is damaged", outcome.err)
        self.refused("replay", "run", "--to", 7, named=["6 steps", "record 6 at byte"])
        self.refused("pack", "run", "-o", "run.clutch", named=["record 6 at byte"])
        outcome = self.clutch("audit", "run", "--all")
        self.assertEqual(outcome.status, 1, "an audit vouches for the whole log")
        self.assertIn("48 pairs compared", outcome.out.decode())
        # Whole records lost from the end: the last checkpoint knows better.
        (run / "fitness.log").write_bytes(content[: -records_size(8)])
        self.assertIn("holds 7 good steps, fewer than the last checkpoint's 8", self.clutch("replay", "run").err)
        self.refused("pack", "run", "-o", "run.clutch", named=["7 good steps"])
        self.assertEqual(self.clutch("audit", "run", "--all").status, 1)
        flip(run / "fitness.log", 3)
        self.refused("replay", "run", named=["run/fitness.log", "no fitness log"])


class AuditTest(CliTest):
    def test_clean(self):
        self.train("run", steps=8, checkpoint_every=3, noise_reuse=2, group_size=4)
        for words in ([], ["--samples", 5, "--seed", 9], ["--all"], ["--all", "--backend", "reference"]):
            out = self.good("audit", "run", *words).decode()
            self.assertIn(", 0 differ", out)
        self.assertIn("64 pairs compared", out)
        self.assertEqual(self.good("audit", "run", "--seed", 3), self.good("audit", "run", "--seed", 3))

    def test_the_text_matters(self):
        self.train("run", data=self.text(), steps=3)
        other = self.file("other.txt", bytes(reversed(self.text().read_bytes())))
        self.refused("audit", "run", "--data", other, named=["--data", "digest"])
        moved = self.file("moved/copy.txt", self.text().read_bytes())
        (self.folder / "text.txt").unlink()
        self.refused("audit", "run", named=["text.txt"])
        self.good("audit", "run", "--data", moved)
        # Without a checkpoint nobody knows the text's digest, but what it gives is not what is logged.
        shutil.rmtree(self.folder / "run" / "checkpoints")
        outcome = self.clutch("audit", "run", "--all", "--data", other)
        self.assertEqual(outcome.status, 1)
        self.assertRegex(outcome.out.decode(), r"step 1 pair \d+: the log says")

    def test_refusals(self):
        self.train("run", steps=2)
        self.refused("audit", "run", "--samples", 0, named=["--samples"])
        self.train("empty", steps=0)
        self.refused("audit", "empty", named=["empty"])


class PackTest(CliTest):
    def test_rebuilds_the_model_alone(self):
        run = self.train("run", steps=12, checkpoint_every=5, fitness="scaled", alpha="1.2")
        outcome = self.clutch("pack", "run", "-o", "run.clutch")
        self.assertEqual(outcome.status, 0, outcome.err)
        size = (self.folder / "run.clutch").stat().st_size
        self.assertIn(f"run.clutch: 12 steps in {size} bytes; the model's weights are ", outcome.err)
        expected = digests(run)
        shutil.rmtree(run)
        self.assertEqual(self.good("replay", "run.clutch").decode(), expected[-1] + "\n")
        self.assertEqual(self.good("replay", "run.clutch", "--to", 3).decode(), expected[2] + "\n")
        self.good("audit", "run.clutch", "--all")
        self.refused("audit", "run.clutch", "--data", self.text(3000, "other.txt"), named=["digest"])

    def test_size(self):
        """About 100 bytes of fitness a step for 1,024 members, and few more."""
        self.train("run", dim=2, population=1024, tokens_per_update=1, steps=40, checkpoint_every=0, validate_every=0)
        self.good("pack", "run", "-o", "run.clutch")
        self.assertLess((self.folder / "run.clutch").stat().st_size, 40 * 125 + 600)

    def test_from_another_model(self):
        self.train("first", steps=2)
        self.train("second", steps=2, init=self.folder / "first", dim=None)
        outcome = self.clutch("pack", "second", "-o", "second.clutch")
        self.assertIn("which the pack does not hold", outcome.err)
        self.good("replay", "second.clutch")
        shutil.rmtree(self.folder / "first")
        self.refused("replay", "second.clutch", named=["first"])

    def test_damage(self):
        self.train("run", steps=3)
        self.good("pack", "run", "-o", "run.clutch")
        content = (self.folder / "run.clutch").read_bytes()
        self.refused("replay", self.file("cut.clutch", content[:-1]), named=["cut.clutch", "checksum"])
        self.refused("replay", self.file("none.clutch", content[:5]), named=["none.clutch", "no packed run"])
        self.refused("audit", self.file("text.clutch", b"Once upon a time"), named=["text.clutch"])
        flip(self.folder / "run.clutch", 30)
        self.refused("replay", "run.clutch", named=["run.clutch", "checksum"])


class DiffTest(CliTest):
    def test_runs(self):
        self.train("a", steps=6)
        self.train("b", steps=4, backend="reference")
        self.train("c", steps=6, alpha=0.2)
        outcome = self.clutch("diff", "a", "b")
        self.assertEqual((outcome.status, outcome.out), (0, b"equal in all 4 steps both have (6 and 4)\n"))
        outcome = self.clutch("diff", "a", "c")
        self.assertEqual((outcome.status, outcome.err), (1, ""))
        self.assertRegex(outcome.out.decode(), r"they part at step 1\n.*\nemb: \d+ of 4096 differ, first \[\d+\]\[\d+\]")
        self.refused("diff", "a", "nowhere", named=["nowhere"])


class ResumeTest(CliTest):
    def test_a_full_disk(self):
        """The log cannot grow: the run ends with the reason, and goes on to the same end when there is room."""
        knobs = dict(population=512, tokens_per_update=1, fitness="scaled", steps=15, checkpoint_every=0)
        whole = self.train("whole", **knobs, validate_every=0, dim=2)
        size = records_size(256, scaled=True)
        words = ["train", "--out", "run", *flags({**TINY, **knobs, "data": self.text(), "dim": 2, "validate_every": 0})]
        limit = HEADER + 10 * size + 100  # more than ten lines of metrics.jsonl take
        outcome = self.clutch(*words, preexec_fn=lambda: limit_files(limit))
        self.check_refusal(outcome, "run/fitness.log", "File too large", "resume")
        run = self.folder / "run"
        self.assertEqual(len(digests(run)), 10)
        self.assertEqual(digests_of_log(run), digests(whole)[:10])
        self.assertEqual((run / "fitness.log").stat().st_size, limit, "a part of the record was written")
        outcome = self.clutch("train", "--resume", "run")
        self.assertEqual(outcome.status, 0, outcome.err)
        self.assertIn(f"of step 10 at byte {HEADER + 10 * size}, is cut off", outcome.err)
        self.assertEqual((run / "fitness.log").read_bytes(), (whole / "fitness.log").read_bytes())
        self.assertEqual(digests(run), digests(whole))

    def test_kills_lose_nothing_that_was_reported(self):
        """A record is the operating system's before metrics.jsonl has the step, so no kill loses one."""
        rng = random.Random(random_seed(self))
        data = self.text(8000)
        knobs = dict(TINY, population=32, tokens_per_update=8, steps=120, checkpoint_every=9, noise_reuse=3, carry="keep")
        whole = self.train("whole", data=data, **knobs)
        run, reported = self.folder / "run", {}
        words = ["train", "--out", run, *flags({**knobs, "data": data, "dim": 16, "threads": 1})]
        for kill in range(6):
            process = self.start(*words)
            goal = max(reported, default=0) + rng.randrange(1, 14)
            self.wait_until(lambda: self.last_line(run) >= goal or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.004))
            process.kill()
            process.communicate()
            lines = (run / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
            reported.update({line["step"]: line["digest"] for line in map(json.loads, lines)})
            logged = digests_of_log(run)
            for step, digest in reported.items():
                self.assertEqual(logged[step - 1 : step], [digest], f"step {step} after kill {kill}")
            words = ["train", "--resume", run]
        self.good(*words)
        self.assertEqual(digests(run), digests(whole))
        self.assertEqual((run / "fitness.log").read_bytes(), (whole / "fitness.log").read_bytes())
        self.good("audit", run, "--samples", 200)

    def last_line(self, run):
        try:
            found = re.findall(rb'^\{"step": (\d+),.*\}$', (run / "metrics.jsonl").read_bytes(), re.M)
        except FileNotFoundError:
            return 0
        return int(found[-1]) if found else 0

    def test_two_at_once(self):
        data = self.text()
        process = self.start("train", "--out", "run", *flags(dict(data=data, dim=16, population=16, steps=10**6)))
        run = self.folder / "run"
        self.wait_until(lambda: len(list((run / "checkpoints").glob("*.safetensors"))) > 1, process)
        outcome = self.clutch("train", "--resume", "run", "--steps", 5)
        self.check_refusal(outcome, "run", "another process")
        process.kill()
        process.communicate()
        self.good("train", "--resume", "run", "--steps", 5)

    def test_a_damaged_log_is_named(self):
        run = self.train("run", steps=12, checkpoint_every=10)
        expected = digests(run)
        checkpoints(run)[-1].unlink()
        content = (run / "fitness.log").read_bytes()
        flip(run / "fitness.log", HEADER + 10 * records_size(8))
        outcome = self.clutch("train", "--resume", "run")
        self.assertEqual(outcome.status, 0, outcome.err)
        self.assertIn(f"note: run/fitness.log: record 10 at byte {HEADER + 10 * records_size(8)} is damaged", outcome.err)
        self.assertEqual(digests(run), expected)
        self.assertEqual((run / "fitness.log").read_bytes(), content)
        checkpoints(run)[-1].unlink()
        flip(run / "fitness.log", HEADER + 9 * records_size(8))
        self.refused("train", "--resume", "run", named=["9 good steps", "checkpoint's 10", "record 9 at byte"])

    def test_sync(self):
        """How often the log is forced to the disk changes nothing in it."""
        logs = []
        for sync in ("step", "second"):
            logs.append((self.train(sync, steps=5, sync=sync) / "fitness.log").read_bytes())
        self.assertEqual(*logs)
        self.refused("train", "--out", "new", *flags(dict(data=self.text(), sync="never")), named=["--sync", "never"])


def digests_of_log(run):
    _, records = read_log_so_far(run / "fitness.log")
    return [record[2] for record in records]


def read_log_so_far(path):
    """Without a record cut short at the end."""
    content = path.read_bytes()
    pairs, shape = struct.unpack_from("<II", content, 16)
    size = records_size(pairs, shape == 1)
    whole = path.with_suffix(".whole")
    whole.write_bytes(content[: HEADER + (len(content) - HEADER) // size * size])
    result = read_log(whole)
    whole.unlink()
    return result


def limit_files(size):
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


if __name__ == "__main__":
    main()
