"""--tensorboard, read back: by a reader written from the format's description, and by TensorBoard's own where it is."""

import struct
import unittest

from support import CliTest, main, metrics

try:
    from tensorboard.backend.event_processing import event_accumulator
except ImportError:
    event_accumulator = None


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content):
    place = 0
    while place < len(content):
        length, check = struct.unpack_from("<QI", content, place)
        assert check == masked(content[place : place + 8])
        data = content[place + 12 : place + 12 + length]
        assert struct.unpack_from("<I", content, place + 12 + length)[0] == masked(data)
        yield data
        place += 16 + length


def fields(data):
    """A protocol buffer as {field: [value]}: numbers, floats, or bytes."""
    found, place = {}, 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 1:
            (value,), place = struct.unpack_from("<d", data, place), place + 8
        elif key & 7 == 5:
            (value,), place = struct.unpack_from("<f", data, place), place + 4
        else:
            length = varint()
            value, place = data[place : place + length], place + length
        found.setdefault(key >> 3, []).append(value)
    return found


class TensorBoardTest(CliTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.train("run", tensorboard=1, inspect_every=5, sample_every=5, validate_every=5)

    def events(self):
        (path,) = (self.run_folder / "tensorboard").iterdir()
        self.assertIn("tfevents", path.name)
        return [fields(data) for data in records(path.read_bytes())]

    def test_another_reader(self):
        first, *steps = self.events()
        self.assertEqual(first[3], [b"brain.Event:2"])
        self.assertEqual([event[2][0] for event in steps], list(range(1, 11)))
        for event, line in zip(steps, metrics(self.run_folder)):
            values = {v[1][0].decode(): v for v in map(fields, fields(event[5][0])[1])}
            self.assertAlmostEqual(values["bits/with noise"][2][0], line["bits_per_byte"], places=4)
            self.assertEqual("bits/held out" in values, line["step"] % 5 == 0)
            if line["step"] % 5:
                continue
            weights = fields(values["weights/emb"][5][0])
            self.assertEqual(weights[3], [4096.0])
            counts = struct.unpack(f"<{len(weights[7][0]) // 8}d", weights[7][0])
            self.assertEqual(sum(counts), 4096)
            self.assertIn(8, values["sample"])
            self.assertEqual(fields(fields(values["sample"][9][0])[1][0])[1], [b"text"])

    def test_a_resume_writes_a_file_of_its_own(self):
        self.resume("run", steps=12)
        self.assertEqual(len(list((self.run_folder / "tensorboard").iterdir())), 2)

    def test_without_it_there_is_none(self):
        self.assertFalse((self.train("plain") / "tensorboard").exists())

    @unittest.skipUnless(event_accumulator, "the Python package tensorboard is not installed")
    def test_its_own_reader(self):
        every = {event_accumulator.HISTOGRAMS: 0, event_accumulator.TENSORS: 0}  # by default it keeps a few
        accumulator = event_accumulator.EventAccumulator(str(self.run_folder / "tensorboard"), size_guidance=every)
        accumulator.Reload()
        bits = [event.value for event in accumulator.Scalars("bits/with noise")]
        for got, line in zip(bits, metrics(self.run_folder), strict=True):
            self.assertAlmostEqual(got, line["bits_per_byte"], places=4)
        self.assertEqual([event.step for event in accumulator.Histograms("weights/emb")], [5, 10])
        self.assertEqual([event.step for event in accumulator.Tensors("sample")], [5, 10])


if __name__ == "__main__":
    main()
