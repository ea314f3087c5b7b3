#!/bin/sh
# Compiles the Metal backend's host file for arm64-apple-macos against the declarations in stub/, with the C and C++
# headers of Linux on ARM. Usage: compile_host.sh CLANG++ BUILD-FOLDER. Exits with 77 where those headers are missing.
set -eu
clang=$1 build=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
arm=/usr/aarch64-linux-gnu/include
cxx=$(ls -d $arm/c++/* 2>/dev/null | tail -n 1)
[ -n "$cxx" ] || { echo "needs g++-aarch64-linux-gnu, for its headers"; exit 77; }
compile() {
  "$clang" -target arm64-apple-macos13 -fobjc-arc -x objective-c++ -std=c++20 -Wall -Wextra -Werror \
    -U__nonnull -D__linux__ -D__gnu_linux__ -D_GNU_SOURCE -nostdinc++ -isystem "$cxx" -isystem "$cxx/aarch64-linux-gnu" \
    -isystem $arm -idirafter /usr/include -isystem "$root/tests/metal/stub" -I "$root/src" -I "$build/msl" -c "$1" -o "$2"
}
compile "$root/src/backend/metal/metal.mm" "$build/metal.o"
# A check that finds nothing proves nothing.
sed 's/newCommandQueue/newCommandQueues/' "$root/src/backend/metal/metal.mm" >"$build/spoiled.mm"
if compile "$build/spoiled.mm" "$build/spoiled.o" 2>/dev/null; then
  echo "a misspelt message was not found"
  exit 1
fi
file "$build/metal.o" 2>/dev/null || true
