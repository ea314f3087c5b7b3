"""Models that are damaged, foreign, or of another version or shape: refused by every command that reads one."""

import json
import shutil
import struct

from support import (
    TINY, CliTest, checkpoints, digests, egg_tensors, flags, main, npy_tokens, read_safetensors, safetensors,
)  # fmt: skip


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def with_header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class FileTest(CliTest):
    def refused_model(self, path, *named):
        """By all that read a model."""
        text = self.text()
        for words in (
            ["generate", "-m", path, "-n", 1],
            ["eval", "-m", path, "--data", text],
            ["info", "-m", path],
            ["train", "--out", "new", *flags({**TINY, "data": text, "dim": None}), "--init", path],
        ):
            with self.subTest(words[0], path=str(path)):
                self.refused(*words, named=[path, *named])

    def test_no_file(self):
        self.refused_model("nowhere.safetensors")
        (self.folder / "folder").mkdir()
        self.refused_model("folder", "checkpoint")
        self.refused_model(self.file("empty.safetensors", b""))

    def test_headers(self):
        entry = {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}
        for name, content, *named in (
            ("short", b"\x05\x00\x00"),
            ("2^60", struct.pack("<Q", 2**60) + b"{}" + bytes(100), str(2**60)),
            ("2^64-1", struct.pack("<Q", 2**64 - 1) + b"{}" + bytes(100)),
            ("past the end", struct.pack("<Q", 500) + b"{}" + bytes(100)),
            ("no JSON", with_header(b"{'emb': 1}", bytes(100))),
            ("a list", with_header([])),
            ("nothing", with_header({})),
            ("metadata only", with_header({"__metadata__": {"a": "b"}})),
            ("numbers in metadata", with_header({"__metadata__": {"step": 5}})),
            ("no dtype", with_header({"emb": {"shape": [4], "data_offsets": [0, 4]}}, bytes(4)), "emb"),
            ("float", with_header({"emb": {**entry, "dtype": "F32", "shape": [1]}}, bytes(4)), "emb", "F32"),
            ("past the data", with_header({"emb": {**entry, "data_offsets": [0, 5]}}, bytes(4)), "emb"),
            ("backward", with_header({"emb": {**entry, "data_offsets": [4, 0]}}, bytes(4)), "emb"),
            ("wrong size", with_header({"emb": {**entry, "shape": [5]}}, bytes(4)), "emb"),
            ("overlap", with_header({"emb": entry, "head": entry}, bytes(4))),
            ("gap", with_header({"emb": {**entry, "data_offsets": [1, 5]}}, bytes(5))),
            ("more data", with_header({"emb": entry}, bytes(9))),
            ("overflow", with_header({"emb": {**entry, "shape": [2**40, 2**40]}}, bytes(4)), "emb"),
            ("overflow to 4", with_header({"emb": {**entry, "shape": [2**62 + 1, 4]}}, bytes(4)), "emb"),
            ("negative", with_header({"emb": {**entry, "shape": [-4]}}, bytes(4)), "emb"),
            ("twice", with_header(b'{"emb":%s,"emb":%s}' % ((json.dumps(entry).encode(),) * 2), bytes(4)), "emb"),
            ("deep", with_header(b'{"emb":' * 100000)),
        ):
            self.refused_model(self.file(name + ".safetensors", content), *named)

    def test_foreign_files(self):
        for name, content, *named in (
            ("model.gguf", b"GGUF\x03\0\0\0" + bytes(200), "GGUF"),
            ("model.pt", b"PK\x03\x04" + bytes(200), "zip"),
            ("model.npy", npy_tokens(list(range(100))), "NumPy"),
            ("model.pkl", b"\x80\x04\x95" + bytes(200), "pickle"),
            ("model.txt", b"only some words " * 20),
            ("other.safetensors", safetensors({}, {"lm_head.weight": ([2, 2], bytes(4))}), "emb"),
        ):
            self.refused_model(self.file(name, content), *named)

    def test_an_imported_model_of_impossible_shape(self):
        good = egg_tensors(8, 2, 16)
        for name, tensors in {
            "missing": {key: value for key, value in good.items() if key != "blocks.ln2.weight"},
            "transposed": {**good, "blocks.mlp.0.weight": ([2, 8, 32], good["blocks.mlp.0.weight"][1])},
            "one layer less": {**good, "blocks.att.bf": ([1, 8], bytes(8))},
            "a dimension more": {**good, "ln_out.weight": ([1, 8], bytes(8))},
            "-128": {**good, "head": ([16, 8], bytes(127) + b"\x80")},
        }.items():
            changed = [key for key in good if tensors.get(key) != good[key]]
            self.refused_model(self.file(name + ".safetensors", safetensors({}, tensors)), *changed)
        for name, dim, layers, vocab in (("width 0", 0, 1, 16), ("no layers", 8, 0, 16), ("one token", 8, 1, 1)):
            self.refused_model(self.file(name + ".safetensors", safetensors({}, egg_tensors(dim, layers, vocab))))

    def test_an_imported_model_of_unknown_arithmetic(self):
        for metadata in ({"activation": "silu"}, {"activation": "pqn"}, {"dialect": "other"}):
            (value,) = metadata.values()
            path = self.file(value + ".safetensors", safetensors(metadata, egg_tensors(8, 2, 16)))
            self.refused_model(path, value)

    def test_sound_files_are_taken(self):
        """So that the refusals above are not for another reason."""
        for metadata in ({}, {"activation": "relu"}, {"dialect": "egg.c"}):
            path = self.file("good.safetensors", safetensors(metadata, egg_tensors(8, 2, 16)))
            self.good("generate", "-m", path, "-n", 1)


class CheckpointTest(CliTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.train("run", dim=8, steps=8, checkpoint_every=4)
        self.path = checkpoints(self.run_folder)[-1]
        self.content = self.path.read_bytes()

    def edited(self, **metadata):
        old, tensors = read_safetensors(self.path)
        return safetensors({**old, **metadata}, tensors)

    def refused_everywhere(self, content, *named, resume_only=False):
        """The damaged checkpoint, by its name and as the last of its run."""
        self.path.write_bytes(content)
        text = self.text()
        for words in (
            ["train", "--resume", self.run_folder, "--steps", 20],
            ["generate", "-m", self.run_folder, "-n", 1],
            ["eval", "-m", self.path, "--data", text],
            ["info", "-m", self.path],
            ["train", "--out", "new", *flags({**TINY, "data": text, "dim": None}), "--init", self.run_folder],
        )[: 1 if resume_only else None]:
            with self.subTest(words[0] + " " + words[1]):
                self.refused(*words, named=[self.path.name, *named])
        self.path.write_bytes(self.content)

    def test_truncated(self):
        for size in (0, 7, 8, 100, len(self.content) // 2, len(self.content) - 1):
            with self.subTest(size=size):
                self.refused_everywhere(self.content[:size])

    def test_corrupted_weights(self):
        """One bit of a weight; the checkpoint carries the digest of its weights."""
        (header,) = struct.unpack_from("<Q", self.content)
        self.refused_everywhere(flipped(self.content, 8 + header + 100), "digest")

    def test_corrupted_header(self):
        self.refused_everywhere(flipped(self.content, self.content.index(b'"emb"') + 2))

    def test_corrupted_states(self):
        """One bit of a member's state would change the rest of the run."""
        _, tensors = read_safetensors(self.path)
        place = self.content.index(tensors["members.states"][1])
        self.refused_everywhere(flipped(self.content, place + 3), resume_only=True)

    def test_no_states(self):
        metadata, tensors = read_safetensors(self.path)
        del tensors["members.states"]
        self.refused_everywhere(safetensors(metadata, tensors), "states", resume_only=True)

    def test_another_semantic_version(self):
        for version in ("2", "0", "one", ""):
            self.refused_everywhere(self.edited(semantic_version=version), "semantic version", version)

    def test_another_shape(self):
        """Its metadata say another width than its tensors have."""
        for metadata in ({"dim": "9"}, {"layers": "2"}, {"vocab": "255"}):
            self.refused_everywhere(self.edited(**metadata))
        for metadata in ({"dim": "0"}, {"dim": "-1"}, {"dim": "x"}, {"dim": ""}, {"layers": "99999999999"}):
            self.refused_everywhere(self.edited(**metadata))

    def test_metadata_that_lack(self):
        for key in ("dim", "arch", "dialect"):
            metadata, tensors = read_safetensors(self.path)
            del metadata[key]
            self.refused_everywhere(safetensors(metadata, tensors), key)
        metadata, tensors = read_safetensors(self.path)
        del metadata["step"]
        self.refused_everywhere(safetensors(metadata, tensors), "step", resume_only=True)

    def test_the_way_out_works(self):
        """As the message says, without the damaged checkpoint the run goes on from the one before."""
        expected = digests(self.train("whole", dim=8, steps=20))
        self.path.write_bytes(self.content[:-5])
        self.refused("train", "--resume", self.run_folder, "--steps", 20, named=[self.path.name])
        self.path.unlink()
        self.resume(self.run_folder, steps=20)
        self.assertEqual(digests(self.run_folder), expected)

    def test_a_folder_of_checkpoints_with_a_stray_file(self):
        """Notes and copies beside the checkpoints are not taken for one."""
        for name in ("notes.txt", "step-old.safetensors", "step-00000008.safetensors.bak", ".step-1.safetensors"):
            self.file(f"run/checkpoints/{name}", b"stray")
        outcome = self.clutch("info", "-m", self.run_folder)
        self.assertEqual(outcome.status, 0, outcome.err)
        self.assertIn(digests(self.run_folder)[-1], outcome.out.decode())

    def test_another_run_inside(self):
        """A checkpoint of a run on another text, copied in."""
        other = self.train("other", dim=8, steps=8, data=self.text(3000, "other.txt"))
        shutil.copy(checkpoints(other)[-1], self.path)
        self.refused("train", "--resume", self.run_folder, "--steps", 20, named=["digest"])


if __name__ == "__main__":
    main()
