#!/bin/sh
# Each instruction set's object may define one symbol that others see, its table. Anything else, such as an inline
# function of the standard library, could be picked by the linker for all of the program and then run on a processor
# that lacks the instructions. Usage: one_symbol.sh nm object...
nm=$1
shift
status=0
for object in "$@"; do
  symbols=$("$nm" --defined-only --extern-only "$object" | grep -v ':$' | grep -c .)
  if [ "$symbols" -ne 1 ]; then
    echo "$object defines $symbols symbols that others see:"
    "$nm" --defined-only --extern-only -C "$object"
    status=1
  fi
done
[ $# -gt 0 ] && exit $status
