"""SIGKILL at random moments: each resume goes on, and the run ends with the bits of one that was never disturbed."""

import random
import shutil
import signal
import time

from support import TINY, CliTest, checkpoints, digests, flags, main, metrics, random_seed, without_time

KILLS = 10
STEPS = 150
KNOBS = dict(
    dim=16, population=32, tokens_per_update=16, steps=STEPS, checkpoint_every=4, validate_every=10, sample_every=9,
    noise_reuse=2, threads=2,
)  # fmt: skip


class KillTest(CliTest):
    def setUp(self):
        super().setUp()
        self.knobs = dict(KNOBS)

    def start_or_resume(self, run, data, **comfort):
        """Where a kill came before the folder had a config.json, nothing was begun, and the run is started again."""
        if (run / "config.json").exists():
            return self.start("train", "--resume", run, *flags(comfort))
        shutil.rmtree(run, ignore_errors=True)
        return self.start("train", "--out", run, *flags({**TINY, **self.knobs, "data": data}))

    def kill_at_a_random_moment(self, rng, run, data):
        """Some kills come early, in the start; others after a few more steps and a part of one."""
        comfort = dict(
            checkpoint_every=rng.choice([1, 2, 4, 7]), keep=rng.choice([1, 3]), threads=rng.choice([1, 2]),
            backend=rng.choice(["cpu", "cpu", "reference"]),
        )  # fmt: skip
        process = self.start_or_resume(run, data, **comfort)
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.03))
        else:
            # The resume may cut lines first, so progress counts from the last checkpoint.
            goal = self.last_step(run) + rng.randrange(1, 16)
            self.wait_until(lambda: self.lines_logged(run) >= goal or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.008))
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        if ended:
            self.assertEqual(process.returncode, 0)
        return process.returncode == -signal.SIGKILL

    def last_step(self, run):
        if not (run / "checkpoints").exists():
            return 0
        finished = [path for path in checkpoints(run) if path.suffix == ".safetensors"]
        return int(finished[-1].stem[5:]) if finished else 0

    def check_equal(self, run, undisturbed):
        steps = self.knobs["steps"]
        self.assertEqual([line["step"] for line in metrics(run)], list(range(1, steps + 1)))
        self.assertEqual(digests(run), digests(undisturbed))
        for line, expected in zip(metrics(run), metrics(undisturbed)):
            self.assertEqual(without_time(line), without_time(expected))
            self.assertEqual("valid_bits_per_byte" in line, line["step"] % 10 == 0 or line["step"] == steps)
        weights = [path / "checkpoints" / f"step-{steps:08}.safetensors" for path in (run, undisturbed)]
        outputs = [self.good("info", "-m", path) for path in weights]
        self.assertEqual(*outputs)

    def test_ten_kills(self):
        rng = random.Random(random_seed(self))
        data = self.text(8000)
        # Some seconds, so that ten kills, each some steps and milliseconds after the last, find it running.
        probe = metrics(self.train("probe", **{**KNOBS, "data": data, "steps": 40}))
        self.knobs["steps"] = max(STEPS, min(6000, int(100 / probe[-1]["seconds"])))
        undisturbed = self.train("undisturbed", **{**self.knobs, "data": data})
        run = self.folder / "run"
        kills = sum(self.kill_at_a_random_moment(rng, run, data) for _ in range(KILLS))
        self.assertEqual(kills, KILLS, "the run ended before all kills; give it more steps")
        process = self.start_or_resume(run, data)
        _, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, err)
        self.check_equal(run, undisturbed)

    def test_what_a_kill_can_leave(self):
        """The remains of a kill, made by hand: a line cut short, lines past the checkpoint, temporary files."""
        data = self.text(8000)
        undisturbed = self.train("undisturbed", **{**KNOBS, "data": data})
        run = self.folder / "run"
        for name, remains in {
            "a cut line": b'{"step": 149, "evaluated_tok',
            "a line without its end": b'{"step": 149, "digest": "0123456789abcdef"}',
            "zeros, as after a power cut": bytes(300),
            "lines of another try": b'{"step": 149, "digest": "0"}\n{"step": 150, "digest": "0"}\n',
        }.items():
            with self.subTest(name):
                shutil.rmtree(run, ignore_errors=True)
                shutil.copytree(undisturbed, run)
                checkpoints(run)[-1].unlink()  # 150; 148 is left
                lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
                (run / "metrics.jsonl").write_bytes(b"".join(lines[:148]) + remains)
                half = (run / "checkpoints" / "step-00000148.safetensors").read_bytes()[:1000]
                for temporary in ("step-00000150.safetensors.tmp-1", "step-00000152.safetensors.tmp-99999"):
                    (run / "checkpoints" / temporary).write_bytes(half)
                (run / "config.json.tmp-7").write_bytes(b"{")
                (run / "metrics.jsonl.tmp-7").write_bytes(b"{")
                self.good("train", "--resume", run)
                self.check_equal(run, undisturbed)

    def test_nobody_sees_half_a_file(self):
        """What a kill at any moment would leave, seen by looking all the time: checkpoints appear whole."""
        run = self.folder / "run"
        # Steps of no work on a model of 1 MB, so that nearly all the time goes into writing it.
        knobs = dict(dim=256, population=2, texts_per_pair=1, tokens_per_update=1, steps=60, checkpoint_every=1, keep=1, threads=1)
        process = self.start("train", "--out", run, *flags({**knobs, "data": self.text(), "validate_every": 0}))
        seen, sizes = set(), set()
        while process.poll() is None:
            for path in (run / "checkpoints").glob("*.safetensors"):
                try:
                    sizes.add(path.stat().st_size)
                except FileNotFoundError:  # the older one is removed meanwhile
                    continue
                seen.add(path.name)
        self.assertEqual(process.returncode, 0)
        self.assertGreater(len(seen), 5)
        # The header's length differs by a few bytes with the seconds it holds.
        self.assertLess(max(sizes) - min(sizes), 64, sizes)

    def test_temporary_files_of_a_kill_are_removed(self):
        """A resume has the run for itself: what a kill left half written is of no use to anybody."""
        run = self.train("run")
        remains = [self.file(f"run/{name}", b"half") for name in (
            "config.json.tmp-7", "metrics.jsonl.tmp-7", "checkpoints/step-00000002.safetensors.tmp-99999",
        )]  # fmt: skip
        self.resume(run, steps=12)
        self.assertEqual([path.name for path in remains if path.exists()], [])

    def test_a_kill_while_the_folder_is_made_says_what_to_do(self):
        """A folder with the remains of config.json only: neither a run nor empty, and told apart from a run."""
        data = self.text(8000)
        self.file("run/config.json.tmp-7", b"{")
        self.refused("train", "--resume", "run", named=["run/config.json"])
        self.refused("train", "--out", "run", *flags({**KNOBS, "data": data}), named=["run"])


if __name__ == "__main__":
    main()
