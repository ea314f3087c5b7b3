"""`clutch train` from outside: the same digests whatever computes them, what is shown and recorded, stopping and
going on, checkpoints, and where a run starts from. Kills are in kill_test.py, bad input in refusals_test.py."""

import json
import os
import re
import time
import shutil
import signal
import subprocess

from support import TIMEOUT_S, TINY, CliTest, checkpoints, digests, flags, main, metrics, read_safetensors

ENDLESS = 10**6  # steps


class SameBitsTest(CliTest):
    def test_threads_backends_and_repetition(self):
        knobs = dict(steps=12, population=24, group_size=4, layers=2, rank=2, fitness="scaled")
        expected = digests(self.train("run", **knobs))
        self.assertEqual(len(set(expected)), 12)
        for name, changes in {
            "again": {},
            "threads2": dict(threads=2),
            "threads5": dict(threads=5),
            "every-processor": dict(threads=0),
            "reference": dict(backend="reference"),
            "scalar": dict(backend="cpu:scalar", threads=3),
        }.items():
            with self.subTest(name):
                self.assertEqual(digests(self.train(name, **{**knobs, **changes})), expected)

    def test_odd_sizes(self):
        """Widths, vocabularies and windows that fill no vector register or tile."""
        data = self.file("count.txt", bytes(i % 37 for i in range(500)))
        for dim, population, length in ((1, 2, 1), (7, 6, 3), (17, 10, 13), (33, 34, 5)):
            with self.subTest(dim=dim):
                knobs = dict(data=data, dim=dim, population=population, tokens_per_update=length, vocab=37, steps=4)
                expected = digests(self.train(f"reference{dim}", backend="reference", **knobs))
                self.assertEqual(digests(self.train(f"cpu{dim}", backend="cpu", threads=2, **knobs)), expected)

    def test_every_knob_of_the_meaning_matters(self):
        expected = digests(self.train("run"))
        for name, value in dict(
            seed=1, dim=17, layers=2, dialect="egg.c", activation="relu", population=18, group_size=4, noise_reuse=2,
            rank=2, sigma_shift=5, tokens_per_update=9, alpha="0.3", alpha_decay="0.1", fitness="scaled",
            valid_fraction="0.2",
        ).items():  # fmt: skip
            with self.subTest(name):
                self.assertNotEqual(digests(self.train(name, **{name: value})), expected)

    def test_comfort_changes_nothing(self):
        expected = digests(self.train("run"))
        knobs = dict(validate_every=1, valid_tokens=70, sample_every=2, checkpoint_every=3, keep=1)
        self.assertEqual(digests(self.train("other", **knobs)), expected)


class ConfigTest(CliTest):
    def test_given_back_it_reproduces(self):
        run = self.train("run", seed=7, rank=2, alpha="1.5", fitness="scaled", valid_fraction="0.1")
        again = self.train("again", **dict.fromkeys(TINY), config=run / "config.json")
        self.assertEqual(digests(again), digests(run))
        self.assertEqual((again / "config.json").read_bytes(), (run / "config.json").read_bytes())

    def test_flags_override_it(self):
        run = self.train("run", seed=7)
        other = self.train("other", **{**dict.fromkeys(TINY), "config": run / "config.json", "seed": 8, "steps": 3})
        self.assertEqual(digests(other), digests(self.train("plain", seed=8))[:3])

    def test_it_is_resolved(self):
        config = json.loads((self.train("run", alpha="2", dim=9) / "config.json").read_text())
        self.assertEqual((config["alpha"], config["alpha_decay"], config["dim"]), ("1", "0.003000000", 9))
        self.assertEqual(config["backend"], "cpu")

    def test_a_part_of_it_is_enough(self):
        config = {**TINY, "data": [str(self.text())], "alpha": 0.25}
        (self.folder / "small.json").write_text(json.dumps(config))
        run = self.train("run", **dict.fromkeys(TINY), config="small.json")
        self.assertEqual(digests(run), digests(self.train("flags", alpha="0.25")))


class RecordTest(CliTest):
    def test_metrics(self):
        lines = metrics(self.train("run", steps=9, validate_every=4))
        self.assertEqual([line["step"] for line in lines], list(range(1, 10)))
        seconds = core_seconds = 0
        for line in lines:
            self.assertEqual(line["evaluated_tokens"], line["step"] * 16 * 8)
            self.assertEqual(line["distinct_tokens"], 8 * (line["step"] * 8 + 1))  # 8 streams of 475 tokens each
            self.assertTrue(0 < line["bits_per_byte"] < 25, line)
            self.assertTrue(0 < line["moved"] <= 1 and 0 <= line["tied"] < 1, line)
            self.assertGreaterEqual(line["seconds"], seconds)
            self.assertGreaterEqual(line["core_seconds"], core_seconds)
            self.assertRegex(line["digest"], "^[0-9a-f]{16}$")
            seconds, core_seconds = line["seconds"], line["core_seconds"]
        self.assertGreater(core_seconds, 0)
        validated = {line["step"]: line["valid_bits_per_byte"] for line in lines if "valid_bits_per_byte" in line}
        self.assertEqual(list(validated), [4, 8, 9])  # the end, too
        self.assertTrue(all(0 < bits < 25 for bits in validated.values()))

    def test_validation_can_be_off(self):
        for name, knobs in {"never": dict(validate_every=0), "nothing": dict(valid_fraction=0)}.items():
            lines = metrics(self.train(name, **knobs))
            self.assertFalse([line for line in lines if "valid_bits_per_byte" in line])

    def test_it_learns(self):
        """A text of three letters, from above 8 bits to below 4 within a second."""
        data = self.file("abc.txt", b"abc" * 2000)
        lines = metrics(self.train("run", data=data, population=128, tokens_per_update=16, steps=150, threads=2))
        self.assertGreater(lines[0]["bits_per_byte"], 7)
        self.assertLess(lines[-1]["valid_bits_per_byte"], 4)

    def test_digest_is_of_the_saved_weights(self):
        run = self.train("run")
        self.assertIn("digest " + digests(run)[-1], self.good("info", "-m", run).decode())
        self.assertEqual(read_safetensors(checkpoints(run)[-1])[0]["weights_digest"], digests(run)[-1])

    def test_checkpoints_kept(self):
        for keep in (1, 2, 4):
            run = self.train(f"keep{keep}", steps=11, checkpoint_every=2, keep=keep)
            expected = [f"step-{step:08}.safetensors" for step in (2, 4, 6, 8, 10, 11)[-keep:]]
            self.assertEqual([path.name for path in checkpoints(run)], expected)

    def test_a_checkpoint_is_safetensors(self):
        run = self.train("run", layers=2, dim=5, population=6)
        metadata, tensors = read_safetensors(checkpoints(run)[-1])
        self.assertEqual(metadata["step"], "10")
        self.assertRegex(metadata["semantic_version"], r"^\d+$")
        self.assertEqual([metadata[key] for key in ("arch", "dim", "layers", "vocab")], ["egg", "5", "2", "256"])
        shapes = {name: shape for name, (shape, _) in tensors.items()}
        self.assertEqual(shapes["emb"], [256, 5])
        self.assertEqual(shapes["blocks.mlp.0.weight"], [2, 20, 5])
        self.assertEqual(shapes["blocks.mlp.1.weight"], [2, 5, 20])
        self.assertEqual(shapes["blocks.att.bf"], [2, 5])
        self.assertEqual(shapes["ln_out.weight"], [5])
        self.assertEqual(shapes["members.states"], [6, 10])
        self.assertFalse([name for name, (_, values) in tensors.items() if 128 in values], "a -128")

    def test_a_checkpoint_is_read_by_the_python_library(self):
        try:
            from safetensors import safe_open
        except ImportError:
            self.skipTest("the Python package safetensors is not installed")
        path = checkpoints(self.train("run"))[-1]
        with safe_open(str(path), framework="np") as file:
            self.assertEqual(file.metadata()["step"], "10")
            _, tensors = read_safetensors(path)
            for name in file.keys():
                tensor = file.get_tensor(name)
                self.assertEqual((list(tensor.shape), tensor.tobytes()), tensors[name])


class ShownTest(CliTest):
    def test_lines_off_a_terminal(self):
        outcome = self.clutch(
            "train", "--out", "run", "--log-every", 5, *flags({**TINY, "data": self.text(), "steps": 20})
        )
        self.assertEqual((outcome.status, outcome.out), (0, b""))
        self.assertNotIn("\r", outcome.err)
        self.assertNotIn("\x1b", outcome.err)
        shown = re.findall(r"^step (\d+)/20 .*digest ([0-9a-f]{16})", outcome.err, re.MULTILINE)
        lines = metrics(self.folder / "run")
        self.assertEqual(shown, [(str(step), lines[step - 1]["digest"]) for step in (5, 10, 15, 20)])
        line = next(line for line in outcome.err.splitlines() if line.startswith("step 20/20"))
        for word in ("bits/byte", "smoothed", "tokens/s", "moved", "tied", "left", "held-out"):
            self.assertIn(word, line)
        self.assertIn("clutch generate -m run", outcome.err)

    def running_for_a_second(self):
        """The line is shown ten times a second; a fast machine makes hundreds of steps in between."""
        begun = time.monotonic()
        return lambda: time.monotonic() - begun > 1 and self.lines_logged(self.folder / "run") > 20

    def test_a_line_that_rewrites_itself_on_a_terminal(self):
        knobs = flags({**TINY, "data": self.text(), "steps": ENDLESS, "validate_every": 0})
        status, shown = self.on_terminal(
            "train", "--out", "run", *knobs, columns=200,
            interrupt_when=self.running_for_a_second(),
        )  # fmt: skip
        self.assertEqual(status, 0, shown)
        live = re.findall(r"\r\x1b\[K(step [^\r\n]*)", shown)
        self.assertGreaterEqual(len(live), 2, shown)
        for word in ("bits/byte", "smoothed", "tokens/s", "moved", "tied", "left"):
            self.assertIn(word, live[-1])
        self.assertIn("--resume run", shown)

    def test_the_live_line_fits_the_terminal(self):
        """What is wider wraps, and the next line then rewrites only its last row."""
        knobs = flags({**TINY, "data": self.text(), "steps": ENDLESS, "validate_every": 0})
        _, shown = self.on_terminal(
            "train", "--out", "run", *knobs, interrupt_when=self.running_for_a_second()
        )
        rewritten = re.findall(r"\r\x1b\[K([^\r\n]*)(?=\r)", shown)
        self.assertTrue(rewritten)
        longest = max(rewritten, key=len)
        self.assertLessEqual(len(longest), 80, longest)

    def test_samples(self):
        outcome = self.clutch(
            "train", "--out", "run", *flags({**TINY, "data": self.text(), "sample_every": 4}), "--log-every", 100
        )
        self.assertEqual(re.findall(r"--- at step (\d+) it writes:", outcome.err), ["4", "8"])

    def test_a_sample_does_not_control_the_terminal(self):
        """An untrained model writes any byte; none below 32 but new lines and tabs, and no 127, may pass."""
        knobs = flags({**TINY, "data": self.text(), "sample_every": 1, "steps": 12, "checkpoint_every": 0})
        _, shown = self.on_terminal("train", "--out", "run", *knobs)
        samples = "".join(re.findall(r"it writes:\n(.*?)\n---\n", shown, re.DOTALL))
        self.assertGreater(len(samples), 20, shown)
        self.assertFalse(re.findall(r"[\x00-\x08\x0b-\x1f\x7f]", samples))

    def test_the_reader_of_the_log_may_leave(self):
        """`clutch train 2>&1 | head` must not cost the run its work."""
        run = self.folder / "run"
        knobs = flags({**TINY, "data": self.text(), "steps": 60})
        process = self.start("train", "--out", run, "--log-every", 1, *knobs)
        process.stderr.readline()
        process.stderr.close()
        process.stdout.close()
        status = process.wait(timeout=TIMEOUT_S)
        self.assertIn(status, (0, 1), f"killed by signal {-status}")
        self.assertTrue(run.joinpath("checkpoints").exists() and checkpoints(run), "nothing was saved")
        self.resume(run)
        self.assertEqual(digests(run), digests(self.train("other", steps=60)))

    def test_the_log_may_fill_a_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("this system has no /dev/full")
        with open("/dev/full", "wb") as full:
            knobs = flags({**TINY, "data": self.text()})
            outcome = self.clutch("train", "--out", "run", "--log-every", 1, *knobs, stderr=full)
        self.assertIn(outcome.status, (0, 1))
        self.resume(self.folder / "run")
        self.assertEqual(digests(self.folder / "run"), digests(self.train("other")))


class StopTest(CliTest):
    def stop(self, number):
        run = self.folder / "run"
        knobs = dict(data=self.text(), noise_reuse=3, checkpoint_every=1000)
        process = self.start("train", "--out", run, *flags({**TINY, **knobs, "steps": ENDLESS}))
        self.wait_until(lambda: self.lines_logged(run) >= 5, process, "five steps")
        process.send_signal(number)
        _, err = process.communicate(timeout=TIMEOUT_S)
        err = err.decode()
        self.assertEqual(process.returncode, 0, err)
        step = metrics(run)[-1]["step"]
        self.assertIn(f"step {step}", err)
        self.assertIn(f"clutch train --resume {run}", err)
        self.assertEqual(checkpoints(run)[-1].name, f"step-{step:08}.safetensors")
        self.resume(run, steps=step + 7)
        lines = metrics(run)
        self.assertEqual([line["step"] for line in lines], list(range(1, step + 8)))
        undisturbed = self.train("undisturbed", **{**knobs, "steps": step + 7})
        self.assertEqual([line["digest"] for line in lines], digests(undisturbed))

    def test_interrupt_saves_and_goes_on(self):
        self.stop(signal.SIGINT)

    def test_termination_saves_and_goes_on(self):
        self.stop(signal.SIGTERM)

    def test_second_interrupt_ends_at_once(self):
        """A step of hours must not hold anybody up."""
        process = self.start(
            "train", "--out", "run",
            *flags({**TINY, "data": self.text(), "dim": 256, "population": 1024, "tokens_per_update": 3000}),
        )  # fmt: skip
        self.wait_until((self.folder / "run" / "config.json").exists, process, "the run's folder")
        # The handler is set soon after the folder is made; before it, one interrupt is enough.
        for _ in range(100):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                pass
        self.assertEqual(process.poll(), -signal.SIGINT)


class ResumeTest(CliTest):
    def test_pieces_equal_the_whole(self):
        """Members' states, alpha's decay and shared noise carry on across any cut."""
        for i, knobs in enumerate((
            dict(noise_reuse=0, alpha_decay="0.1"),
            dict(noise_reuse=4, fitness="scaled", rank=2),
            dict(layers=2, group_size=8, checkpoint_every=5, dialect="egg.c"),
        )):  # fmt: skip
            with self.subTest(**knobs):
                whole = digests(self.train(f"whole{i}", **{**knobs, "steps": 14}))
                run = self.train(f"pieces{i}", **{**knobs, "steps": 3})
                for steps in (4, 9, 14):
                    self.resume(run, steps=steps)
                self.assertEqual(digests(run), whole)
                self.assertEqual([line["step"] for line in metrics(run)], list(range(1, 15)))
                for name in ("seconds", "core_seconds"):
                    seconds = [line[name] for line in metrics(run)]
                    self.assertEqual(seconds, sorted(seconds))

    def test_what_may_change(self):
        whole = digests(self.train("whole", steps=12))
        run = self.train("run", steps=6)
        self.resume(run, steps=12, threads=2, backend="reference", keep=1, checkpoint_every=4, validate_every=0)
        self.assertEqual(digests(run), whole)
        config = json.loads((run / "config.json").read_text())
        self.assertEqual((config["steps"], config["threads"], config["backend"]), (12, 2, "reference"))
        self.assertEqual(len(checkpoints(run)), 1)

    def test_a_knob_repeated_as_it_was(self):
        run = self.train("run", steps=6)
        self.resume(run, steps=7, dim=16, population=16)

    def test_what_may_not_change(self):
        run = self.train("run", steps=4)
        other = self.text(3000, "other.txt")
        for name, value in dict(
            dim=17, layers=2, vocab=255, dialect="egg.c", activation="relu", population=18, group_size=4,
            noise_reuse=2, rank=2, sigma_shift=5, tokens_per_update=9, alpha="0.3", alpha_decay="0.1",
            fitness="scaled", seed=1, valid_fraction="0.1", data=other, valid=other, init=run,
        ).items():  # fmt: skip
            with self.subTest(name):
                flag = "--" + name.replace("_", "-")
                self.refused("train", "--resume", run, "--steps", 8, flag, value, named=[flag])

    def test_the_text_may_not_change(self):
        text = self.text()
        run = self.train("run", data=text)
        kept = text.read_bytes()
        for changed in (kept.replace(b"fox", b"dog"), kept + b"more of it", kept[:-100]):
            text.write_bytes(changed)
            self.refused("train", "--resume", run, "--steps", 20, named=["--data", run])
        text.write_bytes(kept)
        self.resume(run, steps=20)

    def test_an_edited_config_is_refused(self):
        """config.json must be the one the checkpoint was trained under."""
        run = self.train("run")
        config = json.loads((run / "config.json").read_text())
        for key, value in dict(dim=32, layers=2, dialect="egg.c", activation="relu", population=18).items():
            with self.subTest(key):
                edited = self.folder / key
                shutil.copytree(run, edited)
                (edited / "config.json").write_text(json.dumps({**config, key: value}))
                self.refused("train", "--resume", edited, "--steps", 20, named=[edited])

    def test_steps_reached_already(self):
        run = self.train("run")
        for steps in (10, 4):
            outcome = self.clutch("train", "--resume", run, "--steps", steps)
            self.assertEqual(outcome.status, 0, outcome.err)
            self.assertEqual(len(metrics(run)), 10)
            self.assertEqual([path.name for path in checkpoints(run)], ["step-00000010.safetensors"])
        self.assertEqual(digests(self.folder / "run"), digests(self.train("other")))

    def test_no_steps_at_all(self):
        run = self.train("run", steps=0)
        self.assertEqual([path.name for path in checkpoints(run)], ["step-00000000.safetensors"])
        self.resume(run, steps=10)
        self.assertEqual(digests(run), digests(self.train("other")))

    def test_before_the_first_checkpoint(self):
        run = self.train("run")
        shutil.rmtree(run / "checkpoints")
        self.resume(run)
        self.assertEqual(digests(run), digests(self.train("other")))

    def test_a_checkpoint_lost_is_made_again(self):
        run = self.train("run", steps=20, checkpoint_every=5)
        expected = digests(run)
        checkpoints(run)[-1].unlink()
        self.resume(run)
        self.assertEqual(digests(run), expected)
        self.assertEqual([line["step"] for line in metrics(run)], list(range(1, 21)))

    def test_from_another_folder_with_a_path(self):
        self.train("here/run", data=self.text(), steps=4)
        self.resume(self.folder / "here" / "run", steps=8)

    def test_standard_input_again(self):
        text = self.text().read_bytes()
        knobs = flags({**TINY, "data": "-"})
        self.good("train", "--out", "run", *knobs, input=text)
        self.good("train", "--resume", "run", "--steps", 15, input=text)
        self.assertEqual(digests(self.folder / "run"), digests(self.train("file", steps=15)))
        self.refused("train", "--resume", "run", "--steps", 20, input=text[1:], named=["--data"])


class InitTest(CliTest):
    def test_it_brings_its_weights_and_shape(self):
        first = self.train("first", dim=12, layers=2, dialect="egg.c")
        second = self.train("second", init=first, dim=None, steps=0)
        self.assertEqual(
            read_safetensors(checkpoints(first)[-1])[0]["weights_digest"],
            read_safetensors(checkpoints(second)[-1])[0]["weights_digest"],
        )
        config = json.loads((second / "config.json").read_text())
        self.assertEqual((config["dim"], config["layers"], config["dialect"]), (12, 2, "egg.c"))

    def test_it_trains_on_and_resumes(self):
        first = self.train("first")
        whole = digests(self.train("whole", init=first, dim=None, seed=5))
        run = self.train("run", init=checkpoints(first)[-1], dim=None, seed=5, steps=4)
        self.resume(run, steps=10)
        self.assertEqual(digests(run), whole)
        self.assertNotEqual(whole, digests(self.train("fresh", seed=5)))

    def test_a_kill_before_the_first_checkpoint_does_not_lose_it(self):
        """Whatever a resume does there, it must not go on from random weights instead."""
        first = self.train("first")
        run = self.train("run", init=first, dim=None)
        expected = digests(run)
        shutil.rmtree(run / "checkpoints")
        outcome = self.clutch("train", "--resume", run)
        if outcome.status == 0:
            self.assertEqual(digests(run), expected)
        else:
            self.check_refusal(outcome, run)


if __name__ == "__main__":
    main()
