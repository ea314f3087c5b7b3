#!/usr/bin/env python3
"""Adds up ctest's JUnit reports: names what failed and what was skipped and why, then prints one line of counts.

Python test files report each test method on a line "RESULT <passed|failed|skipped> <name> [reason]"; those are
counted one by one, not the file as a single test. Exit status 1 where anything failed or a preset did not build.
"""
import argparse
import re
import sys
import xml.etree.ElementTree as ElementTree

RESULT = re.compile(r"^RESULT (passed|failed|skipped) (\S+) ?(.*)$", re.MULTILINE)


def outcomes(case):
    """(outcome, name, reason) of each test in one ctest entry."""
    output = case.findtext("system-out") or ""
    inner = RESULT.findall(output)
    status = {"run": "passed", "fail": "failed", "notrun": "skipped", "disabled": "skipped"}[case.get("status")]
    reason = ""
    if status == "skipped":
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if not line.startswith("[")), "")
    if not inner:
        return [(status, case.get("name"), reason)]
    found = [(kind, f"{case.get('name')}/{name}", why) for kind, name, why in inner]
    if status == "failed" and not any(kind == "failed" for kind, _, _ in found):
        found.append(("failed", case.get("name"), "ended badly"))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broken", type=int, default=0, help="presets that did not build")
    parser.add_argument("reports", nargs="*")
    args = parser.parse_args()
    counts = {"passed": 0, "failed": args.broken, "skipped": 0}
    for report in args.reports:
        preset = report.split("/")[-2]
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            for kind, name, reason in outcomes(case):
                counts[kind] += 1
                if kind != "passed":
                    print(f"{kind}: {preset} {name}{': ' + reason if reason else ''}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
