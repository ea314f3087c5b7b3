"""Wraps a generated Metal kernel so that C++ can run it: make_runner.py KERNEL.metal NAME > runner.cc

The runner is run_NAME(push, buffers, groups, group, lane): buffers by their number, groups and group as [3].
"""
import re
import sys

BUILT_IN = {
    "threadgroup_position_in_grid": "group",
    "threadgroups_per_grid": "groups",
    "thread_position_in_grid": "uint3(group.x * gl_WorkGroupSize.x + lane, group.y, group.z)",
    "thread_index_in_threadgroup": "lane",
}


def argument(parameter):
    type_and_name, attribute = re.fullmatch(r"(.*\S)\s+\[\[(.*)\]\]", parameter.strip()).groups()
    buffer = re.fullmatch(r"buffer\((\d+)\)", attribute)
    if buffer is None:
        return BUILT_IN[attribute]
    struct = re.search(r"(\w+)&", type_and_name).group(1)
    number = int(buffer.group(1))
    return f"*static_cast<const {struct}*>(push)" if number == 0 else f"*static_cast<{struct}*>(buffers[{number}])"


def main():
    path, name = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"^#(include|pragma).*$", "", text, flags=re.M)
    text = re.sub(r"^    threadgroup ", "    static ", text, flags=re.M)
    (signature,) = re.findall(r"^kernel void (\w+\(.*)\)$", text, flags=re.M)
    kernel, parameters = signature.split("(", 1)
    arguments = [argument(p) for p in re.split(r",\s*(?![^\[]*\]\])", parameters)]
    print('#include "metal/msl_on_cpu.h"\n')
    print("namespace {\nusing namespace metal;")
    print(text)
    print("}  // namespace\n")
    print(f"void run_{name}(const void* push, void* const* buffers, const uint* g, const uint* at, uint lane) {{")
    print("  [[maybe_unused]] uint3 groups(g[0], g[1], g[2]), group(at[0], at[1], at[2]);")
    temporaries = ""
    for i, a in enumerate(arguments):
        if a.startswith("uint3("):
            temporaries += f"  uint3 built_in_{i} = {a};\n"
            arguments[i] = f"built_in_{i}"
    print(temporaries + f"  {kernel}({', '.join(arguments)});\n}}")


if __name__ == "__main__":
    main()
