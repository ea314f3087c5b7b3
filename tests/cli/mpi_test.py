"""Training by several ranks under mpirun: the bits of one process, and the end of a job when a rank fails.

Skipped where there is no mpirun, or where the program was built without MPI.
"""

import atexit
import fcntl
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from support import TIMEOUT_S, TINY, CliTest, Outcome, REPOSITORY, digests, flags, main, metrics, program, without_time

ENVIRONMENT = {
    **os.environ,
    "ASAN_OPTIONS": "detect_leaks=0",  # Open MPI leaks; runs without it are looked at for ours
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",  # ranks outnumber cores
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",  # containers forbid it, with a page of warnings
    "OMPI_MCA_orte_base_help_aggregate": "0",  # mpirun would wait a second for more of the same
}
KNOBS = {**TINY, "population": 14, "steps": 8, "checkpoint_every": 3, "validate_every": 0}


@functools.cache
def why_not():
    if not shutil.which("mpirun"):
        return "mpirun is not installed"
    done = subprocess.run(
        ["mpirun", "--oversubscribe", "-n", "2", program(), "train", "--timeout", "0"], env=ENVIRONMENT,
        capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    if "--timeout" not in done.stderr:
        return "mpirun cannot start ranks here: " + done.stderr.strip()[:200]
    done = subprocess.run(
        [program(), "train", "--resume", "/nonexistent"], env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"},
        capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    return "this clutch was built without MPI" if "has no MPI" in done.stderr else None


def alive(pid):
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def locked(run):
    """Whether a process still holds the run: one that was killed has left /proc some milliseconds before its lock goes."""
    folder = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(folder)


class MpiTest(CliTest):
    def setUp(self):
        if why_not():
            self.skipTest(why_not())
        super().setUp()
        self.addCleanup(self.end_ranks)

    def command(self, ranks, *words):
        """mpirun's words. `ranks` is their number, or for each of them the words that it has on top."""
        if isinstance(ranks, int):
            return ["mpirun", "--oversubscribe", "-n", str(ranks), program(), *map(str, words)]
        parts = [["-n", "1", program(), *map(str, words), *map(str, own)] for own in ranks]
        return ["mpirun", "--oversubscribe"] + sum([part + [":"] for part in parts], [])[:-1]

    def mpi(self, ranks, *words):
        done = subprocess.run(
            self.command(ranks, *words), cwd=self.folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def good_mpi(self, ranks, *words):
        outcome = self.mpi(ranks, *words)
        self.assertEqual(outcome.status, 0, outcome.err)
        return outcome.err

    def start_mpi(self, ranks, *words):
        process = subprocess.Popen(
            self.command(ranks, *words), cwd=self.folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def ranks(self):
        """Process ids of the ranks that work in this test's folder, by rank."""
        found = {}
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(path / "cwd") != str(self.folder) or not alive(int(path.name)):
                    continue
                variables = (path / "environ").read_bytes().split(b"\0")
            except (OSError, PermissionError):
                continue
            rank = [v[21:] for v in variables if v.startswith(b"OMPI_COMM_WORLD_RANK=")]
            if rank:
                found[int(rank[0])] = int(path.name)
        return found

    def end_ranks(self):
        for pid in self.ranks().values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def words(self, name="run", **knobs):
        return ["train", "--out", name, *flags({"data": self.text(), **KNOBS, **knobs})]

    def check_same(self, run, alone):
        run, alone = self.folder / run, self.folder / alone
        self.assertEqual((run / "fitness.log").read_bytes(), (alone / "fitness.log").read_bytes())
        self.assertEqual(digests(run), digests(alone))
        for line, expected in zip(metrics(run), metrics(alone)):
            self.assertEqual(without_time(line), without_time(expected))


class SameBitsTest(MpiTest):
    def test_any_number_of_ranks(self):
        for fitness in ("sign", "scaled"):
            self.train(fitness, **{**KNOBS, "fitness": fitness})
            for ranks in (1, 2, 3, 4):
                name = f"{fitness}{ranks}"
                err = self.good_mpi(ranks, *self.words(name, fitness=fitness))
                self.check_same(name, fitness)
                if ranks > 1:
                    # 1 + 8 + 8 + 8 bytes, and rank 0's share of 7 pairs.
                    pairs = 7 // ranks
                    size = 25 + (8 * pairs if fitness == "scaled" else (pairs + 4) // 5)
                    self.assertIn(f"each rank sent {size} bytes a step", err)
                    self.assertIn(f"on {ranks} ranks", err)
                    self.assertEqual(err.count("done and saved"), 1, "rank 0 alone speaks")

    def test_without_arithmetic(self):
        """The null backend's losses are of the noise alone: the log and the exchange are all that is at work."""
        self.train("alone", **{**KNOBS, "backend": "null"})
        self.good_mpi(3, *self.words("ranks", backend="null"))
        self.check_same("ranks", "alone")

    def test_mixed_backends(self):
        for fitness, carry, texts in (("sign", "keep", 1), ("scaled", "reset", 1), ("grouped", "keep", 1), ("scaled", "keep", 2)):
            knobs = dict(fitness=fitness, carry=carry, texts_per_pair=texts, group_size=14 // texts)
            alone, mixed = f"{fitness}{texts}", f"mixed {fitness}{texts}"
            self.train(alone, **{**KNOBS, **knobs})
            own = [["--backend", "reference"], ["--backend", "cpu", "--threads", 2], ["--backend", "cpu"]]
            self.good_mpi(own, *self.words(mixed, **{**knobs, "threads": None}))
            self.check_same(mixed, alone)

    def test_resume_on_another_number(self):
        for rule in ("threshold", "momentum"):
            run, alone = f"run {rule}", f"alone {rule}"
            knobs = dict(rule=rule, rate=4)
            self.train(alone, **{**KNOBS, **knobs, "steps": 13})
            self.good_mpi(3, *self.words(run, **knobs, steps=4))
            for ranks, steps in ((1, 6), (2, 7), (4, 10)):
                self.good_mpi(ranks, "train", "--resume", run, "--steps", steps)
            self.resume(self.folder / run, steps=13)
            self.check_same(run, alone)

    def test_from_another_model(self):
        self.train("first", **KNOBS)
        knobs = dict(init=self.folder / "first", dim=None, seed=4)
        self.train("alone", **{**KNOBS, **knobs})
        self.good_mpi(2, *self.words(**knobs))
        self.check_same("run", "alone")

    def test_text_elsewhere(self):
        """Every rank reads its own copy; after a resume too."""
        self.train("alone", **KNOBS)
        copy = self.file("elsewhere/copy.txt", self.text().read_bytes())
        own = [["--data", self.text()], ["--data", copy]]
        self.good_mpi(own, *self.words(data=None, steps=5))
        self.good_mpi([[], ["--data", copy]], "train", "--resume", "run", "--steps", 8)
        self.check_same("run", "alone")


class RefusalTest(MpiTest):
    def refused_mpi(self, ranks, *words, named):
        before = self.contents()
        outcome = self.mpi(ranks, *words)
        self.assertNotEqual(outcome.status, 0)
        errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        self.assertTrue(any(all(str(name) in line for name in named) for line in errors), outcome.err)
        self.assertEqual(self.contents(), before)

    def test_different_text(self):
        text, other = self.text(), self.file("other.txt", bytes(reversed(self.text().read_bytes())))
        own = [["--data", text], ["--data", text], ["--data", other]]
        self.refused_mpi(own, *self.words(data=None), named=["digest of --data", "rank 2 has"])
        self.refused_mpi(
            [["--data", text], ["--data", "nowhere"]], *self.words(data=None), named=["rank 1", "nowhere"]
        )
        self.train("run", **{**KNOBS, "data": text})
        self.refused_mpi(
            [[], ["--data", other]], "train", "--resume", "run", "--steps", 9, named=["rank 1", "digest"]
        )

    def test_different_knobs(self):
        for knob, values in dict(alpha=(0.5, 0.25), seed=(1, 2), carry=("keep", "reset"), dim=(16, 8)).items():
            own = [flags({knob: value}) for value in values]
            self.refused_mpi(own, *self.words(**{knob: None}), named=["configuration: rank 1 has"])
        self.refused_mpi([["--steps", 8], ["--steps", 9]], *self.words(steps=None), named=["--steps: rank 1 has 9"])

    def test_what_no_rank_can_do(self):
        self.refused_mpi(3, *self.words(population=4, group_size=2), named=["rank 0 has no pair"])
        self.refused_mpi(2, *self.words(alpha=99), named=["--alpha"])
        self.train("run", **KNOBS)
        self.refused_mpi(2, *self.words(), named=["run: exists already"])
        self.refused_mpi(2, "train", "--resume", "nowhere", named=["nowhere"])
        self.refused_mpi([[], ["--backend", "gpu"]], *self.words("new"), named=["gpu"])


class DisturbedTest(MpiTest):
    """A job that something happens to, and the resume of what it left."""

    KNOBS = dict(population=16, steps=160, checkpoint_every=40, dim=16, tokens_per_update=32)
    kept = None  # folder of the run that most tests here are compared with

    def start_and_wait(self, ranks, progress, *more, **knobs):
        process = self.start_mpi(ranks, *self.words(**{**self.KNOBS, **knobs}), *more)
        self.wait_until(lambda: self.lines_logged(self.folder / "run") >= progress, process, "some steps")
        return process

    def end_of(self, process):
        try:
            _, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.fail("the job hangs")
        self.wait_for_the_end_of_all_ranks()
        return err.decode(errors="replace")

    def wait_for_the_end_of_all_ranks(self):
        run = self.folder / "run"
        self.wait_until(lambda: not self.ranks() and not locked(run), what="the end of all ranks", timeout_s=30)

    def undisturbed(self, steps):
        """One process's run of so many steps, as the folder alone."""
        shutil.rmtree(self.folder / "alone", ignore_errors=True)
        if steps != self.KNOBS["steps"]:
            self.train("alone", **{**KNOBS, **self.KNOBS, "steps": steps})
            return
        if self.kept is None:
            DisturbedTest.kept = pathlib.Path(tempfile.mkdtemp(prefix="clutch-test-"))
            atexit.register(shutil.rmtree, self.kept, ignore_errors=True)
            shutil.copytree(self.train("alone", **{**KNOBS, **self.KNOBS}), self.kept / "alone")
        else:
            shutil.copytree(self.kept / "alone", self.folder / "alone")

    def check_resume(self, ranks=3, more_steps=None):
        """What was left goes on to the end of an undisturbed run, with nothing lost that had been reported."""
        run = self.folder / "run"
        reported = [line for line in (run / "metrics.jsonl").read_bytes().split(b"\n")[:-1]]
        logged = (run / "fitness.log").read_bytes()
        self.assertGreaterEqual((len(logged) - 40) // 34, len(reported))
        steps = len(reported) + more_steps if more_steps else self.KNOBS["steps"]
        self.good_mpi(ranks, "train", "--resume", "run", "--steps", steps)
        self.undisturbed(steps)
        self.check_same("run", "alone")
        whole = (len(logged) - 40) // 34
        self.assertEqual((run / "fitness.log").read_bytes()[: 40 + 34 * whole], logged[: 40 + 34 * whole])


class FailureTest(DisturbedTest):
    def test_a_rank_is_killed(self):
        """tools/soak kills the other ranks too."""
        process = self.start_and_wait(4, 50, steps=10**6)
        os.kill(self.ranks()[2], signal.SIGKILL)
        self.end_of(process)
        self.assertNotEqual(process.returncode, 0)
        self.check_resume(ranks=2, more_steps=20)

    def test_mpirun_is_killed(self):
        process = self.start_and_wait(3, 50)
        process.kill()
        # The ranks live on until they notice: a resume meanwhile is refused, and one just after that ends the run.
        outcome = self.clutch("train", "--resume", "run", "--steps", self.KNOBS["steps"])
        if outcome.status != 0:
            self.check_refusal(outcome, "run", "another process")
        self.end_of(process)
        self.check_resume()

    def test_ctrl_c(self):
        process = self.start_and_wait(3, 50, steps=10**6)
        process.send_signal(signal.SIGINT)
        err = self.end_of(process)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("stopped and saved at step ", err)
        self.check_resume(more_steps=20)

    def test_ctrl_c_at_a_terminal(self):
        """There the whole group gets the signal, ranks too if mpirun left them in it."""
        process = self.start_and_wait(3, 50, steps=10**6)
        os.killpg(process.pid, signal.SIGINT)
        self.assertIn("stopped and saved at step ", self.end_of(process))
        self.assertEqual(self.good("replay", "run").decode().strip(), digests(self.folder / "run")[-1])

    def test_a_rank_hangs(self):
        process = self.start_and_wait(3, 50, "--timeout", 3, steps=10**6)
        victim = self.ranks()[1]
        os.kill(victim, signal.SIGSTOP)
        begun = time.monotonic()
        err = self.end_of(process)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("another rank has been silent for 3 s (--timeout)", err)
        self.assertLess(time.monotonic() - begun, 25)
        self.wait_until(lambda: not alive(victim), what="the end of the stopped rank", timeout_s=10)
        self.check_resume(more_steps=20)

    def test_a_full_disk_on_rank_0(self):
        """Rank 0 may write no file larger than metrics.jsonl after some 100 steps; the others are not limited."""
        limit = 'trap "" XFSZ; [ $OMPI_COMM_WORLD_RANK = 0 ] && ulimit -f 16; exec "$@"'
        words = self.command(3, *self.words(**self.KNOBS))
        at = words.index(program())
        done = subprocess.run(
            words[:at] + ["bash", "-c", limit, "bash"] + words[at:], cwd=self.folder,
            env={**ENVIRONMENT, "OMPI_MCA_btl": "tcp,self"},  # shared memory is files, which are limited too
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("File too large", done.stderr)
        self.wait_for_the_end_of_all_ranks()
        self.check_resume()


class NamespacesTest(DisturbedTest):
    """Ranks on several hosts, played by network namespaces (tools/mpi-namespaces)."""

    SCRIPT = REPOSITORY / "tools" / "mpi-namespaces"

    def setUp(self):
        super().setUp()
        check = subprocess.run([self.SCRIPT, "check"], capture_output=True, text=True, timeout=TIMEOUT_S)
        if check.returncode != 0:
            self.skipTest("no network namespaces here: " + check.stderr.strip())

    def command(self, ranks, *words):
        return [self.SCRIPT, "run", str(ranks), program(), *map(str, words)]

    def test_several_hosts(self):
        self.train("alone", **KNOBS)
        self.good_mpi(3, *self.words())
        self.check_same("run", "alone")

    def test_a_lost_connection(self):
        """The cable of the second of three hosts is cut."""
        process = self.start_and_wait(3, 50, "--timeout", 10)
        self.addCleanup(process.wait, timeout=30)
        self.addCleanup(process.terminate)  # removes the namespaces
        subprocess.run(["ip", "link", "set", f"cl{process.pid}-v2", "down"], check=True)
        err = self.end_of(process)
        self.assertNotEqual(process.returncode, 0)
        # The words of Open MPI, or ours where its keepalive is slower than the timeout.
        self.assertRegex(err, "lost communication with a remote|network connectivity|another rank has been silent")
        self.check_resume(ranks=2)


if __name__ == "__main__":
    main()
