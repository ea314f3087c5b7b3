"""What the tests of the command line share: running the program, tiny runs, files to feed it.

The program is named by the environment variable CLUTCH:
    CLUTCH=build/release/clutch python3 -m unittest discover -s tests/cli -p '*_test.py'
CLUTCH_TEST_SEED replays a random test; each prints the seed it used.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import pty
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from collections import namedtuple

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "second"))

TIMEOUT_S = 120  # of one command; sanitizer builds are slow

# A run of a few milliseconds a step, in which no default decides a bit. None leaves a knob out.
TINY = dict(
    dim=16, population=16, tokens_per_update=8, steps=10, threads=1, texts_per_pair=1, group_size=2, noise_reuse=1, rank=1,
    sigma_shift=4, rule="threshold", schedule="inverse", alpha="0.5", alpha_decay="0.002", fitness="sign", valid_fraction="0.05",
)  # fmt: skip

Outcome = namedtuple("Outcome", "status out err")  # out as bytes, err as text


def program():
    path = os.environ.get("CLUTCH")
    if not path:
        raise RuntimeError("set CLUTCH to the program to test, such as build/release/clutch")
    return os.path.abspath(path)


def random_seed(test):
    """A seed that differs each time, printed so that CLUTCH_TEST_SEED can replay it."""
    given = os.environ.get("CLUTCH_TEST_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(10**9)
    print(f"{test.id()}: CLUTCH_TEST_SEED={seed}", file=sys.stderr)
    return seed


def flags(knobs):
    """{"group_size": 4} as ["--group-size", "4"]; a list gives several values."""
    words = []
    for name, value in knobs.items():
        if value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            words += ["--" + name.replace("_", "-"), *map(str, values)]
    return words


# ---- Files ----------------------------------------------------------------------------------------------------------


def metrics(run):
    with open(run / "metrics.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def without_time(line):
    """A line of the metrics without what no two runs have alike."""
    return {**line, "seconds": 0, "core_seconds": 0}


def digests(run):
    return [line["digest"] for line in metrics(run)]


def checkpoints(run):
    return sorted((run / "checkpoints").iterdir())


def bin_tokens(tokens):
    return struct.pack(f"<{len(tokens)}H", *tokens)


def npy_tokens(tokens, descr="<u2", shape=None):
    """A version 1.0 .npy file as numpy.save writes it."""
    shape = f"({len(tokens)},)" if shape is None else shape
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    code = {"|u1": "B", "<u2": "H", "<i4": "i", "<i8": "q", "<f4": "f", ">u2": "H"}[descr]
    values = struct.pack(f"{'>' if descr[0] == '>' else '<'}{len(tokens)}{code}", *tokens)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


def zstd_frame(content, wrong_checksum=False):
    """A Zstandard frame of raw blocks (RFC 8878): no compression, no checksum or a wrong one."""
    descriptor = 2 << 6 | 1 << 5 | (4 if wrong_checksum else 0)  # content size of 4 bytes, single segment
    frame = b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + struct.pack("<I", len(content))
    blocks = [content[i : i + 100000] for i in range(0, len(content), 100000)] or [b""]
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        frame += struct.pack("<I", len(block) << 3 | last)[:3] + block
    return frame + (b"\xde\xad\xbe\xef" if wrong_checksum else b"")


def read_safetensors(path):
    """(metadata, {name: (shape, bytes)}), everything checked that the format promises."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    metadata = header.pop("__metadata__", {})
    tensors, spans = {}, []
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        size = 1
        for dimension in entry["shape"]:
            size *= dimension
        assert end - begin == size * {"I8": 1, "I32": 4}[entry["dtype"]], (name, entry)
        tensors[name] = (entry["shape"], data[begin:end])
        spans.append((begin, end))
    ends = [end for _, end in sorted(spans)]
    assert [begin for begin, _ in sorted(spans)] == [0] + ends[:-1] and ends[-1] == len(data), "gaps or overlaps"
    assert all(isinstance(value, str) for value in metadata.values()), metadata
    return metadata, tensors


def safetensors(metadata, tensors):
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "I8", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def egg_tensors(dim, layers, vocab, seed=1):
    """Weights under nano-egg's names, as {name: (shape, bytes)}."""
    rng = random.Random(seed)

    def noise(*shape):
        size = 1
        for dimension in shape:
            size *= dimension
        return list(shape), bytes(rng.randrange(-40, 41) & 255 for _ in range(size))

    def constant(value, *shape):
        return list(shape), bytes([value]) * (shape[0] * (shape[1] if len(shape) > 1 else 1))

    return {
        "emb": noise(vocab, dim),
        "blocks.ln1.weight": constant(16, layers, dim),
        "blocks.att.Wf": noise(layers, dim, dim),
        "blocks.att.Uf": noise(layers, dim, dim),
        "blocks.att.bf": noise(layers, dim),
        "blocks.att.Wh": noise(layers, dim, dim),
        "blocks.att.Uh": noise(layers, dim, dim),
        "blocks.att.bh": noise(layers, dim),
        "blocks.ln2.weight": constant(16, layers, dim),
        "blocks.mlp.0.weight": noise(layers, 4 * dim, dim),
        "blocks.mlp.1.weight": noise(layers, dim, 4 * dim),
        "ln_out.weight": constant(16, dim),
        "head": noise(vocab, dim),
    }


# ---- Tests ----------------------------------------------------------------------------------------------------------


class CliTest(unittest.TestCase):
    """A test with an empty folder, in which its commands run."""

    maxDiff = 2000

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="clutch-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.processes = []
        self.addCleanup(self.end_processes)

    def end_processes(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def text(self, size=4000, name="text.txt"):
        """Words enough to train on, with documents that end."""
        rng = random.Random(5)
        words = b"the old fox ran over a hill and saw one red bird sing".split()
        made = bytearray()
        while len(made) < size:
            made += rng.choice(words) + (b".\n\0" if rng.random() < 0.05 else b" ")
        return self.file(name, bytes(made[:size]))

    # -- Running --

    def start(self, *args, **options):
        """The program as a running process."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([program(), *map(str, args)], cwd=self.folder, **options)
        self.processes.append(process)
        return process

    def clutch(self, *args, input=b"", **options):
        """The program run to its end, whatever that is."""
        words = [arg if isinstance(arg, bytes) else str(arg) for arg in args]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        done = subprocess.run([program(), *words], cwd=self.folder, input=input, timeout=TIMEOUT_S, **options)
        return Outcome(done.returncode, done.stdout, (done.stderr or b"").decode(errors="replace"))

    def good(self, *args, **options):
        """The program run, which must succeed; its stdout."""
        outcome = self.clutch(*args, **options)
        self.assertEqual(outcome.status, 0, f"{args}: {outcome.err}")
        return outcome.out

    def train(self, name, data=None, **knobs):
        """A tiny run; the path of its folder."""
        data = self.text() if data is None and "config" not in knobs else data
        self.good("train", "--out", name, *flags({"data": data, **TINY, **knobs}))
        return self.folder / name

    def resume(self, run, **knobs):
        return self.good("train", "--resume", run, *flags(knobs))

    # -- Refusals --

    def contents(self):
        """Every path of the test's folder with a hash of what is in it."""
        paths = sorted(self.folder.rglob("*"))
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in paths
        }

    def check_refusal(self, outcome, *named):
        """An error of one line that names all of `named` and a way out, and an exit status of 1 or 2."""
        self.assertIn(outcome.status, (1, 2), f"exit status {outcome.status}: {outcome.err}")
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(lines), 1, f"not one error: {outcome.err!r}")
        for name in named:
            self.assertIn(str(name), lines[0])
        has_hint = "; " in lines[0] or "--help" in outcome.err
        self.assertTrue(has_hint, f"no way out: {outcome.err!r}")

    def refused(self, *args, named=(), **options):
        """The program must refuse, naming all of `named` and a way out, and leave nothing behind."""
        before = self.contents()
        outcome = self.clutch(*args, **options)
        after = self.contents()
        for name in sorted(set(after) - set(before)):  # so that what comes next is judged by itself
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
        self.check_refusal(outcome, *named)
        self.assertEqual(after, before, f"{args} left something behind")
        return outcome

    # -- Waiting --

    def wait_until(self, condition, process=None, what="the condition", timeout_s=TIMEOUT_S):
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"waited in vain for {what}")
            if process is not None and process.poll() is not None:
                self.fail(f"ended with {process.returncode} before {what}: {process.communicate()[1]}")
            time.sleep(0.002)

    def lines_logged(self, run):
        try:
            return (run / "metrics.jsonl").read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def on_terminal(self, *args, columns=80, interrupt_when=None):
        """The program with stderr on a terminal `columns` wide; its exit status and what the terminal got."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = self.start(*args, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        shown, deadline = b"", time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            if interrupt_when is not None and interrupt_when():
                interrupt_when = None
                process.send_signal(signal.SIGINT)
            if not select.select([ours], [], [], 0.05)[0]:
                continue
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # EIO: nobody holds the other end any more
                break
            if not chunk:
                break
            shown += chunk
        os.close(ours)
        return process.wait(timeout=TIMEOUT_S), shown.decode(errors="replace").replace("\r\n", "\n")


def main():
    unittest.main(verbosity=2)
