"""Checks a generated Metal kernel's syntax, types and address spaces with clang's OpenCL: check_msl.py CLANG KERNEL.metal...

Then plants errors of address spaces into the kernel, each of which must be found: a check that finds nothing proves nothing.
"""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PLANTED = [  # a cast that leaves its address space, and one that writes to constant memory
    (r"device atomic_uint\*\)&", "threadgroup atomic_uint*)&"),
    (r"\(threadgroup uint\*\)&", "(device uint*)&"),
    (r"volatile device (\w+)& v", r"volatile constant \1& v"),
    (r"device Noise& v", "constant Noise& v"),
]


def as_opencl(msl):
    """What no header can do: attributes, constructors of vectors, and a constant that OpenCL makes otherwise."""
    text = re.sub(r"^(#(include|pragma)|constant uint3 gl_WorkGroupSize).*$", "", msl, flags=re.M)
    text = re.sub(r"\[\[.*?\]\]", "", text)
    text = re.sub(r"\bint4\(uint4\(", "converted<int4>((uint4)(", text)
    text = re.sub(r"\b(u?int[234])\(", r"(\1)(", text)
    return '#include "metal/msl_as_opencl.h"\n' + text


def errors(clang, msl):
    command = [clang, "-x", "cl", "-cl-std=clc++2021", "-cl-no-stdinc", "-target", "spir64", "-fsyntax-only", "-Wno-everything"]
    done = subprocess.run([*command, "-I", HERE.parent, "-"], input=as_opencl(msl), capture_output=True, text=True)
    return done.stderr if done.returncode != 0 else ""


def main():
    clang, *paths = sys.argv[1:]
    planted = failed = 0
    for path in paths:
        msl = pathlib.Path(path).read_text(encoding="utf-8")
        found = errors(clang, msl)
        if found:
            print(f"{path}:\n{found}")
            failed += 1
        for pattern, wrong in PLANTED:
            spoiled = re.sub(pattern, wrong, msl, count=1)
            if spoiled == msl:
                continue
            planted += 1
            if not errors(clang, spoiled):
                print(f"{path}: '{pattern}' turned into '{wrong}' was not found")
                failed += 1
    print(f"{len(paths)} kernels, {planted} planted errors, {failed} failures")
    return 1 if failed or planted < len(PLANTED) else 0


if __name__ == "__main__":
    sys.exit(main())
