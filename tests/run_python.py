#!/usr/bin/env python3
"""Runs one folder's Python tests, a line "RESULT <passed|failed|skipped> <name> [reason]" for each.

Usage: run_python.py FOLDER PATTERN. tools/count_tests.py reads the lines.
"""
import sys
import unittest


class Reporter(unittest.TextTestResult):
    def _line(self, kind, test, reason=""):
        print(f"RESULT {kind} {test.id()} {' '.join(reason.split())}".rstrip(), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line("passed", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line("failed", test, str(err[1])[:200])

    def addError(self, test, err):
        super().addError(test, err)
        self._line("failed", test, str(err[1])[:200])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("skipped", test, reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line("failed", subtest, str(err[1])[:200])


if __name__ == "__main__":
    folder, pattern = sys.argv[1:]
    suite = unittest.defaultTestLoader.discover(folder, pattern=pattern, top_level_dir=folder)
    if suite.countTestCases() == 0:
        sys.exit(f"no tests in {folder} match {pattern}")
    result = unittest.TextTestRunner(resultclass=Reporter, verbosity=0).run(suite)
    sys.exit(0 if result.wasSuccessful() else 1)
