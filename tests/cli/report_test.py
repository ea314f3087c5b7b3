"""`clutch report`: the page of a whole run, of a damaged one, and in a browser."""

import html.parser
import shutil
import subprocess
import unittest

from support import CliTest, checkpoints, main

VOID = {"meta", "link", "br", "hr", "img", "line", "rect", "circle", "path"}


class Balanced(html.parser.HTMLParser):
    """Follows the elements of a page; every one must be closed where it should."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text += data


class ReportTest(CliTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.train("run", sample_every=5, validate_every=5)

    def page(self, run="run"):
        text = self.good("report", run, "-o", "-").decode()
        parser = Balanced()
        parser.feed(text)
        self.assertEqual(parser.open, [])
        return parser

    def test_what_it_shows(self):
        page = self.page()
        for words in ("Loss", "Speed", "held out", "Step 5", "Step 10", "blocks.att.Wf", "tokens_per_update", "seed"):
            self.assertIn(words, page.text)
        self.assertEqual(sum(tag == "circle" for tag, _ in page.seen), 2)

    def test_it_is_written_whole_or_not_at_all(self):
        self.good("report", "run", "-o", "report.html")
        self.assertIn("</html>", (self.folder / "report.html").read_text())
        self.refused("report", "run", "-o", "absent/report.html", named=["absent/report.html"])

    def test_a_damaged_run_shows_what_there_is(self):
        with open(self.run_folder / "metrics.jsonl", "ab") as file:
            file.write(b'{"step": 11, "evalu')
        with open(self.run_folder / "fitness.log", "ab") as file:
            file.write(b"torn")
        shutil.rmtree(self.run_folder / "checkpoints")
        text = self.page().text
        for words in ("1 lines of metrics.jsonl cannot be read", "Loss", "checkpoint", "fitness.log"):
            self.assertIn(words, text)
        (self.run_folder / "config.json").unlink()
        (self.run_folder / "fitness.log").unlink()
        self.assertIn("config.json", self.page().text)

    def test_every_file_cut_short(self):
        """What is whole is shown, what is not is named; wherever the writing ended."""
        newest = checkpoints(self.run_folder)[-1]
        for path in (self.run_folder / "config.json", self.run_folder / "fitness.log", newest):
            content = path.read_bytes()
            for size in (0, 1, len(content) // 3, len(content) - 2):
                with self.subTest(file=path.name, size=size):
                    path.write_bytes(content[:size])
                    text = self.page().text
                    for words in ("Loss", "Step 10", path.name):
                        self.assertIn(words, text)
            path.write_bytes(content)
        lines = (self.run_folder / "metrics.jsonl").read_bytes()
        for size in range(0, len(lines), 301):
            (self.run_folder / "metrics.jsonl").write_bytes(lines[:size])
            text = self.page().text
            self.assertIn("blocks.att.Wf", text)
            self.assertEqual("Loss" in text, b"\n" in lines[:size])

    def test_refusals(self):
        self.refused("report", "nowhere", "-o", "x.html", named=["nowhere"])
        (self.folder / "empty").mkdir()
        self.refused("report", "empty", "-o", "x.html", named=["empty"])

    @unittest.skipUnless(shutil.which("chromium"), "chromium is not installed")
    def test_in_a_browser(self):
        """It renders on a screen and on a phone, says nothing to the console and asks for nothing."""
        self.good("report", "run", "-o", "report.html")
        for size in ("1200,900", "360,640"):
            picture = self.folder / f"{size}.png"
            words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
            words += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={self.folder}/profile"]
            words += [f"--window-size={size}", f"--screenshot={picture}", (self.folder / "report.html").as_uri()]
            done = subprocess.run(words, capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("CONSOLE", done.stderr)
            self.assertGreater(picture.stat().st_size, 8000, "a blank page")


if __name__ == "__main__":
    main()
