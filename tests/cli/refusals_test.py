"""Bad input: an error that names the file or flag, the value and a way out; an exit status other than 0; and nothing
left behind. Damaged models and full disks are in damage_test.py."""

import json
import os
import resource
import shutil
import subprocess

from support import (
    TIMEOUT_S, TINY, CliTest, Outcome, bin_tokens, flags, main, npy_tokens, program, zstd_frame,
)  # fmt: skip

BAD_KNOBS = {
    "dim": ["0", "-1", "65537", "abc", "1.5", "99999999999999999999", ""],
    "layers": ["0", "-3", "1025"],
    "vocab": ["0", "1", "-5", "65537"],
    "window": ["-1", "8", "1025"],  # egg has none
    "population": ["0", "1", "3", "17", "-2", "33554432", "99999999999"],
    "texts-per-pair": ["0", "3", "-1", "x"],
    "group-size": ["1", "3", "6", "32", "-2"],  # 16 members
    "noise-reuse": ["-1", "99999999999"],
    "rank": ["0", "-1", "65", "x"],
    "sigma-shift": ["-1", "100"],
    "tokens-per-update": ["0", "-8", "99999999"],
    "alpha": ["0", "-1", "nan", "inf", "10", "", "1e", "1,5", "0x1", "1e999", "0.0000000001", "1e-999"],
    "alpha-decay": ["-1", "1", "x", ""],
    "rule": ["foo", "", "Momentum"],
    "momentum": ["-0.5", "1", "0.99999", "x", ""],
    "rate": ["0", "-1", "8.01", "0.0001", "x", ""],
    "rate-decay": ["-1", "1", "x", ""],
    "square-momentum": ["-0.5", "1", "x"],
    "weight-decay": ["-1", "1.01", "x"],
    "schedule": ["foo", ""],
    "schedule-steps": ["-1", "x", "100000000"],
    "warmup": ["-1", "x", "100000000"],
    "cooldown": ["-1", "x", "100000000"],
    "fitness": ["foo", "", "SIGN"],
    "arch": ["foo", ""],
    "dialect": ["foo", ""],
    "activation": ["foo", "silu", ""],
    "seed": ["x", "1.5", "99999999999999999999"],
    "steps": ["-1", "x", "99999999999"],
    "validate-every": ["-1"],
    "valid-tokens": ["0", "-1"],
    "sample-every": ["-1"],
    "inspect-every": ["-1"],
    "tensorboard": ["-1", "2"],
    "checkpoint-every": ["-1"],
    "keep": ["0", "-1"],
    "backend": ["foo", "", "cpu:foo", "CPU", "cpu:"],
    "threads": ["-1", "1025", "4294967297"],
    "pin": ["-1", "2", "x"],
    "carry": ["", "lose"],
    "sync": ["", "never"],
    "valid-fraction": ["1", "2", "-0.1", "x", "0.0001"],
    "log-every": ["-1"],
}


def status_and_listing(output):
    """What the script of `mounted` prints: the program's exit status, then the names left in the folder."""
    words = output.decode().split("\n")
    return int(words[0].split()[1]), [word for word in words[1:] if word]


class NumbersTest(CliTest):
    def test_every_knob_of_train(self):
        data = self.text()
        for name, values in BAD_KNOBS.items():
            for value in values:
                with self.subTest(f"--{name} {value!r}"):
                    knobs = {key: given for key, given in TINY.items() if key != name.replace("-", "_")}
                    named = ["--" + name] + ([value] if value else [])
                    self.refused(
                        "train", "--out", "run", *flags({**knobs, "data": data}), f"--{name}={value}", named=named
                    )

    def test_every_knob_is_tried(self):
        config = json.loads((self.train("run") / "config.json").read_text())
        names = {key.replace("_", "-") for key in config} - {"data", "valid", "init"}
        self.assertEqual(names - set(BAD_KNOBS), set())

    def test_other_commands(self):
        run, text = self.train("run"), self.text()
        for command, name, values in (
            (["generate", "-m", run], "--temp", ["-1", "x", "nan", "1001", ""]),
            (["generate", "-m", run], "--top-k", ["-1", "x", "4294967296"]),
            (["generate", "-m", run], "--top-p", ["-0.1", "1.1", "x"]),
            (["generate", "-m", run], "--min-p", ["-0.1", "1.1", "x"]),
            (["generate", "-m", run], "--predict", ["-2", "x", "99999999999999999999"]),
            (["generate", "-m", run], "--seed", ["x", "1.5"]),
            (["generate", "-m", run, "-n", 2], "--threads", ["-1", "1025", "4294967297"]),
            (["generate", "-m", run], "--backend", ["foo"]),
            (["eval", "-m", run, "--data", text], "--streams", ["0", "-1", "65537", "x"]),
            (["eval", "-m", run, "--data", text], "--threads", ["-1", "1025", "4294967297"]),
            (["eval", "-m", run, "--data", text], "--backend", ["foo"]),
            (["data", "make", "stories"], "--bytes", ["0", "-1", "x", "99999999999999"]),
            (["data", "make", "stories"], "--seed", ["x"]),
            (["data", "make", "count"], "--bytes", ["0", "-1"]),
            (["data", "make", "count"], "--vocab", ["0", "1", "257", "-5", "x"]),
            (["data", "entropy", text], "--vocab", ["0", "1", "65537", "-1"]),
        ):
            for value in values:
                with self.subTest(f"{command[0]} {name} {value!r}"):
                    named = [name] + ([value] if value else [])
                    self.refused(*command, f"{name}={value}", named=named)

    def test_a_program_that_could_overflow(self):
        data = self.text()
        for knobs, named in (
            (dict(dim=20000, rank=64, sigma_shift=0), ["matmul", "layer0.wf"]),
            (dict(dim=1024, rank=64, sigma_shift=0), ["matmul"]),
            (dict(dim=65536), ["blocks"]),  # 2^34 weights in one matrix
            (dict(population=2**24, rank=64), ["--population", "vote"]),
            (dict(population=16384, fitness="scaled"), ["--population", "vote"]),
        ):
            with self.subTest(**knobs):
                self.refused("train", "--out", "run", *flags({**TINY, "data": data, **knobs}), named=named)

    def test_more_than_the_memory(self):
        """Sizes that are legal but do not fit are refused, too, and do not end in an abort."""

        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20))

        if self.clutch("info", preexec_fn=limit).status != 0:
            self.skipTest("this build needs more address space than the limit (a sanitizer?)")
        data = self.text()
        for knobs in (dict(dim=23000), dict(population=2**20, dim=1000, fitness="sign"), dict(layers=1024, dim=2000)):
            with self.subTest(**knobs):
                self.refused(
                    "train", "--out", "run", *flags({**TINY, "data": data, **knobs}), preexec_fn=limit, named=["memory"]
                )

    def test_unknown_backend_lists_what_there_is(self):
        self.refused(
            "train", "--out", "run", *flags({**TINY, "data": self.text(), "backend": "vulkan:7"}),
            named=["--backend", "vulkan:7", "cpu", "reference"],
        )  # fmt: skip


class WordsTest(CliTest):
    def test_unknown_words(self):
        for words, named in (
            (["frobnicate"], ["frobnicate"]),
            (["data", "frobnicate"], ["frobnicate"]),
            (["data", "make", "frobnicate"], ["frobnicate"]),
            (["train", "--bogus"], ["--bogus"]),
            (["train", "--bogus", "3"], ["--bogus"]),
            (["generate", "-m", "x", "--bogus"], ["--bogus"]),
            (["eval", "stray", "-m", "x", "--data", "y"], ["stray"]),
            (["info", "stray"], ["stray"]),
            (["--bogus"], ["--bogus"]),
        ):
            with self.subTest(words):
                self.refused(*words, named=named)

    def test_missing_words(self):
        for words, named in (
            ([], ["subcommand"]),
            (["data"], ["subcommand"]),
            (["data", "make"], ["subcommand"]),
            (["train"], ["--data"]),
            (["train", "--data"], ["--data"]),
            (["generate"], ["--model"]),
            (["eval", "--data", "x"], ["--model"]),
            (["eval", "-m", "x"], ["--data"]),
            (["data", "entropy"], ["data"]),
        ):
            with self.subTest(words):
                self.refused(*words, named=named)

    def test_empty_words(self):
        """An unset variable in a script gives these."""
        run, text = self.train("run"), self.text()
        for words in (
            ["train", "--data", ""],
            ["train", "--data", text, "--out", ""],
            ["train", "--data", text, "--out", "r", "--resume", ""],
            ["train", "--out", "r", "--config", ""],
            ["train", "--data", text, "--out", "r", "--valid="],
            ["train", "--data", text, "--out", "r", "--init="],
            ["generate", "-m", ""],
            ["eval", "-m", "", "--data", text],
            ["eval", "-m", run, "--data", ""],
            ["info", "-m", ""],
            ["data", "entropy", ""],
        ):
            with self.subTest(words):
                outcome = self.clutch(*words, *(["--dim", 4, "--steps", 1] if words[0] == "train" else []))
                if outcome.status != 0:
                    self.check_refusal(outcome)
                if words[-2:] in (["--resume", ""], ["--config", ""]):
                    self.assertNotEqual(outcome.status, 0, "an empty word is not the same as none")

    def test_flags_that_contradict(self):
        run = self.train("run")
        for flag, value in (("--out", "elsewhere"), ("--config", run / "config.json")):
            with self.subTest(flag):
                self.refused("train", "--resume", run, flag, value, named=[flag])

    def test_a_rule_changed_on_the_way(self):
        """By a flag, or in config.json: the rule and what it knows belong to the run."""
        run = self.train("run", rule="momentum", rate=1)
        for flag, value in (("--rule", "threshold"), ("--rate", "2"), ("--momentum", "0.5"), ("--fitness", "scaled")):
            with self.subTest(flag):
                self.refused("train", "--resume", run, flag, value, "--steps", 20, named=[flag, "--init"])
        config = json.loads((run / "config.json").read_text())
        self.file("run/config.json", json.dumps({**config, "rule": "carry"}))
        self.refused("train", "--resume", run, "--steps", 20, named=["config.json", "carry", "momentum", "--init"])
        self.file("run/config.json", json.dumps(config))
        self.resume(run, steps=20)

    def test_a_group_of_one_pair(self):
        self.refused(
            "train", "--out", "run", *flags({**TINY, "data": self.text(), "fitness": "grouped"}),
            named=["--fitness", "grouped", "--group-size"],
        )  # fmt: skip
        self.train("run", fitness="grouped", group_size=4)


class DataTest(CliTest):
    def refused_data(self, path, *named, **knobs):
        with self.subTest(str(path), **knobs):
            self.refused("train", "--out", "run", *flags({**TINY, "data": path, **knobs}), named=named or [path])

    def test_no_text(self):
        self.refused_data("nowhere.txt")
        self.refused_data("nowhere/at/all.txt")
        self.refused_data(self.file("empty.txt", b""))
        self.refused_data(self.file("empty.npy", b""))
        self.refused_data(self.file("empty.bin", b""))
        self.refused_data(self.file("none.npy", npy_tokens([])))
        self.refused_data(self.file("empty.zst", zstd_frame(b"")))
        (self.folder / "folder").mkdir()
        self.refused_data("folder")
        self.refused("train", "--out", "run", *flags({**TINY, "data": "-"}), named=["standard input"])
        text = self.text()
        self.refused("train", "--out", "run", *flags({**TINY, "data": ["-", text, "-"]}), named=["-"])
        self.refused("train", "--out", "run", *flags({**TINY, "data": [text, "nowhere.txt"]}), named=["nowhere.txt"])

    def test_no_text_for_other_purposes(self):
        run, text = self.train("run"), self.text()
        self.refused("train", "--out", "r", *flags({**TINY, "data": text, "valid": "nowhere.txt"}), named=["nowhere"])
        one = self.file("one.txt", b"x")
        self.refused("train", "--out", "r", *flags({**TINY, "data": text, "valid": one}), named=["--valid"])
        self.refused("eval", "-m", run, "--data", "nowhere.txt", named=["nowhere.txt"])
        self.refused("eval", "-m", run, "--data", one, named=["--data"])
        self.refused("eval", "-m", run, "--data", "-", named=["standard input"])
        self.refused("data", "entropy", "nowhere.txt", named=["nowhere.txt"])
        self.refused("generate", "-m", run, "-f", "nowhere.txt", named=["nowhere.txt"])
        self.refused("generate", "-m", run, "-f", self.folder, named=[self.folder])

    def test_too_short(self):
        self.refused_data(self.file("short.txt", b"12345678"), "--data", "8", valid_fraction=0)
        self.refused_data(self.file("short2.txt", b"123456789"), "--valid-fraction")
        self.good("train", "--out", "run", *flags({**TINY, "data": "short2.txt", "valid_fraction": 0}))

    def test_unreadable(self):
        path = self.text()
        options = {}
        if os.geteuid() == 0:
            options = dict(user=65534, group=65534)
            self.folder.chmod(0o777)
            try:
                subprocess.run([program(), "--version"], check=True, capture_output=True, **options)
            except (OSError, subprocess.CalledProcessError) as error:
                self.skipTest(f"root reads everything, and user 65534 cannot run the program: {error}")
        run = self.train("run")
        path.chmod(0)
        knobs = {**TINY, "data": path}
        before = sorted(self.folder.rglob("*"))
        outcome = self.clutch("train", "--out", "other", *flags(knobs), **options)
        self.check_refusal(outcome, path, "ermission")
        path.chmod(0o644)
        locked = self.folder / "locked"
        locked.mkdir(mode=0o555)
        outcome = self.clutch("train", "--out", "locked/run", *flags({**knobs, "data": path}), **options)
        self.check_refusal(outcome, "locked/run", "ermission")
        outcome = self.clutch("data", "make", "count", "--out", "locked/text", **options)
        self.check_refusal(outcome, "locked/text", "ermission")
        self.assertEqual(sorted(self.folder.rglob("*")), sorted([*before, locked]))
        checkpoint = next(run.rglob("*.safetensors"))
        checkpoint.chmod(0)
        self.check_refusal(self.clutch("generate", "-m", run, **options), checkpoint, "ermission")

    def test_compressed(self):
        good = zstd_frame(self.text().read_bytes())
        self.refused_data(self.file("text.zst", b"just text, not compressed at all"))
        self.refused_data(self.file("cut.zst", good[:-1]))
        self.refused_data(self.file("cut2.zst", good[:200]))
        self.refused_data(self.file("cut3.zst", good[:3]))
        self.refused_data(self.file("more.zst", good + b"more"))
        self.refused_data(self.file("second-cut.zst", good + good[:100]))
        self.refused_data(self.file("checksum.zst", zstd_frame(b"some words " * 100, wrong_checksum=True)), "checksum")
        self.refused_data(self.file("size.zst", good[:5] + b"\xff\xff\xff\x7f" + good[9:]))

    def test_corrupted_by_one_bit(self):
        """Frames of the zstd program carry a checksum."""
        if not shutil.which("zstd"):
            self.skipTest("the program zstd is not installed")
        text = self.text(3000)
        subprocess.run(["zstd", "-q", text, "-o", self.folder / "t.zst"], check=True)
        content = (self.folder / "t.zst").read_bytes()
        for place in range(len(content) // 10, len(content), len(content) // 10):
            flipped = bytearray(content)
            flipped[place] ^= 0x10
            self.refused_data(self.file("flipped.zst", bytes(flipped)))

    def test_outside_the_vocabulary(self):
        self.refused_data(self.file("t.txt", b"abcdefgh" * 50 + b"~"), "t.txt", "126", "400", vocab=126)
        tokens = [1] * 300 + [40]
        self.refused_data(self.file("t.bin", bin_tokens(tokens)), "t.bin", "40", "300", vocab=40)
        self.refused_data(self.file("t.npy", npy_tokens(tokens)), "t.npy", "40", "300", vocab=40)
        self.refused_data(self.file("n.npy", npy_tokens([1] * 300 + [-1], "<i4")), "n.npy", "-1", "300")
        self.refused_data(self.file("big.npy", npy_tokens([1] * 300 + [65536], "<i4")), "65536", vocab=65536)
        self.good("train", "--out", "run", *flags({**TINY, "data": "t.npy", "vocab": 41}))

    def test_arrays_of_another_kind(self):
        tokens = list(range(100))
        good = npy_tokens(tokens)
        for name, content, *named in (
            ("f4.npy", npy_tokens(tokens, "<f4"), "<f4"),
            ("i8.npy", npy_tokens(tokens, "<i8"), "<i8"),
            ("big-endian.npy", npy_tokens(tokens, ">u2"), ">u2"),
            ("2d.npy", npy_tokens(tokens, shape="(10, 10)"), "10, 10"),
            ("0d.npy", npy_tokens([1], shape="()"), "shape"),
            ("longer.npy", npy_tokens(tokens, shape="(101,)"), "101"),
            ("shorter.npy", npy_tokens(tokens, shape="(99,)"), "99"),
            ("huge.npy", npy_tokens(tokens, shape=f"({2**63},)"), str(2**63)),
            ("huger.npy", npy_tokens(tokens, shape=f"({2**70},)"), "shape"),
            ("cut.npy", good[:-1]),
            ("cut2.npy", good[:40]),
            ("cut3.npy", good[:7]),
            ("header.npy", good[:8] + b"\xff\xff" + good[10:]),
            ("magic.npy", b"\x93NUMPZ" + good[6:]),
            ("version.npy", good[:6] + b"\x07\x00" + good[8:], "7.0"),
            ("keys.npy", good.replace(b"descr", b"dtype")),
            ("object.npy", good.replace(b"'<u2'", b"'|O' ")),
            ("text.npy", b"only a text " * 30),
            ("odd.bin", bin_tokens(tokens) + b"x", "201"),
        ):
            self.refused_data(self.file(name, content), name, *named)

    def test_a_name_that_is_no_utf8(self):
        """config.json is JSON, which cannot hold it: it is refused, or works, but does not abort."""
        name = b"text-\xff.txt"
        shutil.copy(self.text(), os.fsencode(self.folder) + b"/" + name)
        before = self.contents()
        outcome = self.clutch("train", "--out", "run", *flags(TINY), "--data", name)
        if outcome.status != 0:
            self.check_refusal(outcome)
            self.assertEqual(self.contents(), before)


class ConfigTest(CliTest):
    def test_bad_configs(self):
        text = str(self.text())
        for name, content, *named in (
            ("empty.json", ""),
            ("text.json", "dim = 16"),
            ("cut.json", '{"dim": 16,'),
            ("list.json", "[1]"),
            ("unknown.json", json.dumps({"data": [text], "dimm": 16}), "dimm"),
            ("type.json", json.dumps({"data": [text], "dim": "16"}), "dim"),
            ("fraction.json", json.dumps({"data": [text], "dim": 16.5}), "dim", "16.5"),
            ("null.json", json.dumps({"data": [text], "alpha": None}), "alpha"),
            ("data.json", json.dumps({"data": text}), "data"),
            ("data2.json", json.dumps({"data": [1]}), "data"),
            ("huge.json", '{"dim": 99999999999999999999}', "dim"),
            ("deep.json", "[" * 100000),
            ("bytes.json", b"\xff\xfe{}"),
        ):
            with self.subTest(name):
                self.refused("train", "--config", self.file(name, content), "--out", "run", named=[name, *named])
        self.refused("train", "--config", "nowhere.json", "--out", "run", named=["nowhere.json"])
        self.refused("train", "--config", self.folder, "--out", "run", named=[self.folder])

    def test_values_are_checked_as_flags_are(self):
        config = self.file("c.json", json.dumps({**TINY, "data": [str(self.text())], "population": 7}))
        self.refused("train", "--config", config, "--out", "run", named=["population", "7"])


class PlaceTest(CliTest):
    def test_a_run_folder_that_exists(self):
        run, text = self.train("run"), self.text()
        self.refused("train", "--out", run, *flags({**TINY, "data": text}), named=[run, "--resume"])
        self.file("folder/something", b"precious")
        self.refused("train", "--out", "folder", *flags({**TINY, "data": text}), named=["folder"])
        self.refused("train", "--out", text, *flags({**TINY, "data": text}), named=[text])
        self.refused("train", "--out", text / "below", *flags({**TINY, "data": text}), named=[text / "below"])

    def test_an_empty_folder_will_do(self):
        (self.folder / "run").mkdir()
        self.train("run")

    def test_no_run_to_go_on_with(self):
        text = self.text()
        (self.folder / "empty").mkdir()
        for run in ("nowhere", "empty", text):
            with self.subTest(str(run)):
                self.refused("train", "--resume", run, named=[run])

    def test_no_place_for_made_text(self):
        self.file("folder/x", b"")
        for out in ("nowhere/text", "folder"):
            self.refused("data", "make", "stories", "--out", out, named=[out])


class MountedTest(CliTest):
    """Disks that are full or cannot be written, as small file systems in memory."""

    PROBE = 'mount -t tmpfs -o "$O" tmpfs "$M"\n'
    FILL = 'head -c 1000000 /dev/zero > "$M/filler" 2>/dev/null || true\nset +e\n'
    REPORT = '\necho status $?\nfind "$M" -mindepth 1 -printf "%P\\n" | sort\n'

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can mount a file system")
        if not shutil.which("unshare"):
            self.skipTest("the program unshare is not installed")
        (self.folder / "mount").mkdir()
        if self.in_a_mount("size=64k", "").returncode != 0:
            self.skipTest("mounting is not allowed here")

    def in_a_mount(self, options, script):
        """Runs a shell script with such a file system at $M, seen by nobody else."""
        env = {**os.environ, "M": str(self.folder / "mount"), "O": options, "C": program()}
        words = ["unshare", "-m", "sh", "-ec", self.PROBE + script]
        return subprocess.run(words, env=env, capture_output=True, timeout=TIMEOUT_S, cwd=self.folder)

    def mounted(self, options, script):
        """The exit status and listing that the script prints, and its stderr."""
        done = self.in_a_mount(options, script)
        self.assertEqual(done.returncode, 0, done.stderr)
        status, listing = status_and_listing(done.stdout)
        return status, listing, done.stderr.decode()

    def train_flags(self, **knobs):
        return " ".join(flags({**TINY, "data": self.text(), **knobs}))

    def check(self, status, err, *named):
        self.check_refusal(Outcome(status, b"", err), *named)

    def test_read_only(self):
        for command, path in (
            (f"train --out $M/run {self.train_flags()}", "mount/run"),
            ("data make stories --out $M/text", "mount/text"),
        ):
            status, listing, err = self.mounted("ro", f"set +e\n$C {command}" + self.REPORT)
            self.check(status, err, path, "ead-only")
            self.assertEqual(listing, [])

    def test_full_from_the_start(self):
        for command, path in (
            (f"train --out $M/run {self.train_flags()}", "mount/run"),
            ("data make stories --out $M/text", "mount/text"),
        ):
            status, listing, err = self.mounted("size=64k", self.FILL + f"$C {command}" + self.REPORT)
            self.check(status, err, path, "No space left")
            self.assertEqual(listing, ["filler"])

    def test_full_along_the_way(self):
        """A run loses nothing: with room made, it goes on to the same end."""
        steps = self.train_flags(steps=60, checkpoint_every=10, keep=1)
        expected = (self.train("undisturbed", steps=60) / "metrics.jsonl").read_text()
        expected = [line.split("digest")[1] for line in expected.splitlines()]
        for size in ("36k", "28k", "24k", "16k", "12k"):
            with self.subTest(size):
                script = f'set +e\n$C train --out "$M/run" {steps}' + self.REPORT
                script += 'mount -o remount,size=10m "$M"\n$C train --resume "$M/run" && cp -r "$M/run" .\n'
                status, listing, err = self.mounted(f"size={size}", script)
                self.assertEqual(status, 1, err)
                self.assertRegex(err, "error: .*mount/run/.*No space left on device; ")
                self.assertFalse([name for name in listing if ".tmp" in name], listing)
                lines = (self.folder / "run" / "metrics.jsonl").read_text().splitlines()
                self.assertEqual([line.split("digest")[1].split(", valid")[0] for line in lines], expected)
                shutil.rmtree(self.folder / "run")


class StandardOutputTest(CliTest):
    def test_full_standard_output(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("this system has no /dev/full")
        run, text = self.train("run"), self.text()
        for words in (
            ["generate", "-m", run, "-n", 5],
            ["eval", "-m", run, "--data", text],
            ["data", "make", "stories"],
            ["data", "make", "count"],
            ["data", "entropy", text],
            ["info"],
            ["info", "--ops"],
            ["info", "-m", run],
        ):
            with self.subTest(words[0]), open("/dev/full", "wb") as full:
                self.refused(*words, stdout=full, named=["standard output", "No space left"])

    def test_closed_standard_output(self):
        run, text = self.train("run"), self.text()
        for words in (
            ["generate", "-m", run, "-n", -1, "--ignore-eos"],
            ["eval", "-m", run, "--data", text],
            ["data", "make", "stories"],
            ["info"],
        ):
            with self.subTest(words[0]):
                read, write = os.pipe()
                os.close(read)
                try:
                    self.refused(*words, stdout=write, named=["standard output", "pipe"])
                finally:
                    os.close(write)


if __name__ == "__main__":
    main()
