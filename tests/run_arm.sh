#!/bin/sh
# Builds the tests of backends and the conformance program for AArch64 and runs it under qemu as three processors: one with neither dot products
# nor i8mm, one with dot products, one with everything; so the choice at run time is tested too.
# Needs g++-aarch64-linux-gnu, qemu-user-static and libgtest-dev.
# Usage: tests/run_arm.sh build FOLDER; tests/run_arm.sh run FOLDER cortex-a53|cortex-a76|max
set -e
cd "$(dirname "$0")/.."
case "$#:$1" in
  2:build) ;;
  3:run)
    # Everything on the last; on the others what is chosen at run time, and less of the rest.
    tests="Select*" cases="^(rule|arch/egg/24)|/65$"
    [ "$3" = max ] && tests="*" cases="^(random|rule|arch/egg/24|arch/transformer/64|shape/biases/100)|/(7|65|128)$"
    qemu-aarch64-static -cpu "$3" "$2/backend_tests" --gtest_brief=1 --gtest_filter="$tests"
    exec qemu-aarch64-static -cpu "$3" "$2/clutch_conformance" test --backend cpu --cases 4 -k "$cases" ;;
  *) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac
out=$2
mkdir -p "$out"
cxx="aarch64-linux-gnu-g++ -std=c++20 -Isrc -Itests -I/usr/src/googletest/googletest/include \
  -I/usr/src/googletest/googletest -DFMT_HEADER_ONLY -idirafter /usr/include -c"
command -v ccache > /dev/null && cxx="ccache $cxx"

objects=
compile() {  # source, flags...; adds to $objects
  source=$1
  shift
  object=$out/$(echo "$source" | tr '/' '_').o
  case $source in  # what computes is optimised; the rest takes longer to compile than to run
    src/exact/* | src/backend/reference/* | src/backend/cpu/*) level=-O2 ;;
    src/*) level=-O1 ;;
    *) level=-O0 ;;
  esac
  $cxx $level "$@" "$source" -o "$object"
  objects="$objects $object"
}
for source in src/exact/*.cc src/program/*.cc src/base/*.cc src/models/*.cc src/evolution/*.cc src/data/streams.cc \
  src/parity/*.cc src/backend/*.cc src/backend/reference/*.cc src/backend/null/*.cc src/backend/device/*.cc src/backend/cpu/*.cc \
  src/backend/vulkan/off.cc src/backend/metal/off.cc src/backend/cuda/cuda.cc src/backend/cuda/plan.cc src/backend/cuda/memory.cc \
  src/backend/cuda/absent.cc; do
  compile "$source"
done
compile src/backend/cpu/isa/scalar.cc
compile src/backend/cpu/isa/neon.cc
compile src/backend/cpu/isa/neondot.cc -march=armv8.2-a+dotprod
compile src/backend/cpu/isa/neoni8mm.cc -march=armv8.2-a+dotprod+i8mm
library=$objects
objects=
for source in tests/backend/*_test.cc /usr/src/googletest/googletest/src/gtest-all.cc \
  /usr/src/googletest/googletest/src/gtest_main.cc; do
  compile "$source"
done
aarch64-linux-gnu-g++ -static $objects $library -lpthread -o "$out/backend_tests"
objects=
compile tests/backend/conformance.cc
compile tests/backend/conformance_cases.cc
aarch64-linux-gnu-g++ -static $objects $library -lpthread -o "$out/clutch_conformance"
