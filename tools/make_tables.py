#!/usr/bin/env python3
"""Prints src/exact/tables.inc: the constants of exact/ that come from real functions.

Every entry is the real value rounded to the nearest integer, computed with 60 decimal digits. The tests check
the same entries against the C library's long double functions. Usage: tools/make_tables.py > src/exact/tables.inc
"""
from decimal import ROUND_HALF_EVEN, Decimal, getcontext

getcontext().prec = 60
LN2 = Decimal(2).ln()


def nearest(x):
    return int(x.to_integral_value(rounding=ROUND_HALF_EVEN))


def pi():
    """Machin's formula."""
    def arctan_inverse(n):
        total, term, k = Decimal(0), Decimal(1) / n, 0
        while abs(term) > Decimal(10) ** -65:
            total += term / (2 * k + 1) * (1 if k % 2 == 0 else -1)
            term /= n * n
            k += 1
        return total
    return 4 * (4 * arctan_inverse(5) - arctan_inverse(239))


def two_sided_tail(z):
    """P(|N(0,1)| > z) = 1 - erf(z / sqrt 2), by the power series of erf."""
    x = z / Decimal(2).sqrt()
    total, term, k = Decimal(0), x, 0
    while abs(term) > Decimal(10) ** -55:
        total += term / (2 * k + 1)
        k += 1
        term *= -x * x / k
    return 1 - 2 / pi().sqrt() * total


def gelu(x):
    """x * P(N(0,1) < x)."""
    tail = two_sided_tail(abs(x)) / 2
    return x * (1 - tail if x > 0 else tail)


def turn(i):
    """Cosine and sine of a token's turn of pair i, with 62 fractional bits, by their power series."""
    x = (-(Decimal(10000).ln()) * i / 32).exp()
    parts, term, k = [Decimal(0), Decimal(0)], Decimal(1), 0
    while abs(term) > Decimal(10) ** -55:
        parts[k % 2] += term if k % 4 < 2 else -term
        k += 1
        term *= x / k
    return [nearest(Decimal(2) ** 62 * part) for part in parts]


def raised_cosine(x):
    """(1 + cos x) / 2, by the power series."""
    total, term, k = Decimal(0), Decimal(1), 0
    while abs(term) > Decimal(10) ** -55:
        total += term
        k += 2
        term *= -x * x / (k * (k - 1))
    return (1 + total) / 2


def emit(comment, declaration, values):
    print(f"// {comment}")
    print(f"{declaration} = {{")
    line = "   "
    for value in values:
        if len(line) + len(str(value)) + 2 > 108:
            print(line)
            line = "   "
        line += f" {value},"
    print(line)
    print("};\n")


if __name__ == "__main__":
    print("// Made by tools/make_tables.py; included by tables.h alone.\n")
    emit("round(2^28 * 2^(-j/16))", "inline constexpr std::uint32_t kExp2Table[17]",
         [nearest(Decimal(2) ** 28 * (-LN2 * j / 16).exp()) for j in range(17)])
    emit("round(2^24 * log2(1 + i/256))", "inline constexpr std::uint32_t kLog2Table[257]",
         [nearest(Decimal(2) ** 24 * (1 + Decimal(i) / 256).ln() / LN2) for i in range(257)])
    emit("round(2^32 * P(|N(0,1)| > i/64))", "inline constexpr std::uint64_t kTwoSidedTailTable[321]",
         [nearest(Decimal(2) ** 32 * two_sided_tail(Decimal(i) / 64)) for i in range(321)])
    emit("round(2^18 * exp(-i/6))", "inline constexpr std::uint32_t kSoftmaxTable[256]",
         [nearest(Decimal(2) ** 18 * (Decimal(-i) / 6).exp()) for i in range(256)])
    emit("round(x * P(N(0,1) < x/16)), x = -127..127", "inline constexpr std::int8_t kGeluTable[255]",
         [nearest(gelu(Decimal(x) / 16) * 16) for x in range(-127, 128)])
    emit("round(2^62 * cos(10000^(-i/32))), round(2^62 * sin(10000^(-i/32)))",
         "inline constexpr std::int64_t kTurnTable[32][2]", [f"{{{c}, {s}}}" for c, s in map(turn, range(32))])
    emit("round(2^30 * (1 + cos(pi * i/256)) / 2)", "inline constexpr std::uint32_t kRaisedCosineTable[257]",
         [nearest(Decimal(2) ** 30 * raised_cosine(pi() * i / 256)) for i in range(257)])
