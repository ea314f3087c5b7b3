#!/usr/bin/env python3
"""A second implementation of Clutch's integer training, written from docs/NUMERICS.md alone.

It shares no code with the program and is made to be read: plain Python integers, the standard library only, one
part for each section of the document. It is slow, and meant for models of a few thousand weights. Where it and the
program give different numbers, one of the two does not follow the document.

    clutch2.py train    --config C.json --tokens T.bin [--weights W.safetensors]
    clutch2.py logits   --config C.json --tokens T.bin [--weights W.safetensors]
    clutch2.py evaluate --config C.json --tokens T.bin [--weights W.safetensors] [--streams S] [--limit N]
    clutch2.py generate --config C.json (--prompt TEXT | --prompt-tokens 1,2,3) --count N --seed S [--temp ...]
    clutch2.py initial  --config C.json
    clutch2.py noise    --seed S [--epoch E --pair P --tensor T --component C --role R] --count N

Token files are little-endian 16-bit words. Without --weights the model has the initial weights of the seed.
"""

import argparse
import json
import struct
from collections import namedtuple
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from math import isqrt
from operator import mul

MASK32, MASK64 = 2**32 - 1, 2**64 - 1
ROLE_A, ROLE_B, ROLE_INITIAL, ROLE_SAMPLING = 0, 1, 2, 3


# ---- Values ---------------------------------------------------------------------------------------------------------


def clip(a):
    return max(-127, min(127, a))


def sign(a):
    return (a > 0) - (a < 0)


def truncate(a, b):
    return a // b if a >= 0 else -(-a // b)


def dot(x, y):
    return sum(map(mul, x, y))


def q_down(text, bits):
    """A decimal number with `bits` fractional bits, rounded down."""
    return Fraction(str(text)) * 2**bits // 1


def q_nearest(text, bits):
    return (Fraction(str(text)) * 2**bits + Fraction(1, 2)) // 1


@dataclass
class Config:
    dim: int
    layers: int
    vocab: int
    dialect: str = "nano-egg"
    activation: str = "none"
    arch: str = "egg"
    window: int = 0
    carry: str = "keep"
    population: int = 8
    group_size: int = 8
    texts_per_pair: int = 1
    noise_reuse: int = 1
    seed: int = 0
    rank: int = 1
    sigma_shift: int = 0
    tokens_per_update: int = 8
    alpha: str = "0.1"
    alpha_decay: str = "0"
    rule: str = "threshold"
    momentum: str = "0.95"
    square_momentum: str = "0.999"
    rate: str = "0.5"
    rate_decay: str = "0.002"
    weight_decay: str = "0"
    schedule: str = "inverse"
    schedule_steps: int = 0
    warmup: int = 0
    cooldown: int = 0
    fitness: str = "sign"
    steps: int = 1

    def __post_init__(self):
        if self.dialect not in ("nano-egg", "egg.c") or self.activation not in ("none", "relu"):
            raise ValueError("unknown dialect or activation")
        if self.arch not in ARCHITECTURES or self.carry not in ("keep", "reset"):
            raise ValueError("unknown architecture or carry")
        if self.fitness not in ("sign", "scaled", "clipped", "strong", "grouped"):
            raise ValueError("unknown fitness")
        if self.texts_per_pair not in (1, 2):
            raise ValueError("a pair reads one text or two")
        if self.fitness == "grouped" and self.texts_per_pair * self.group_size == 2:
            raise ValueError("a group of one pair")
        if self.rule not in RULES or self.schedule not in ("constant", "inverse", "root", "cosine"):
            raise ValueError("unknown rule or schedule")
        if self.population % 2 or self.population % (self.texts_per_pair * self.group_size):
            raise ValueError("the population must be even and of whole groups")
        if not 0 <= self.seed <= MASK64 or not 0 < q_down(self.alpha, 30) <= 2**30:
            raise ValueError("seed or alpha out of range")


# ---- Noise ----------------------------------------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10: four words of counter, two of key, four words out."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 & MASK32, p0 >> 32 ^ c3 ^ k1, p0 & MASK32
        k0, k1 = k0 + 0x9E3779B9 & MASK32, k1 + 0xBB67AE85 & MASK32
    return c0, c1, c2, c3


def noise_block(seed, epoch, pair, tensor, component, role, block):
    return philox((block, pair, epoch, role | component << 8 | tensor << 16), (seed & MASK32, seed >> 32))


def noise_value(u):
    return (u & 31) + (u >> 5 & 31) + (u >> 10 & 31) + (u >> 15) - 47


def noise(seed, epoch, pair, tensor, component, role, count):
    """The first `count` values of a stream."""
    values = []
    for block in range((count + 7) // 8):
        for word in noise_block(seed, epoch, pair, tensor, component, role, block):
            values += noise_value(word & 0xFFFF), noise_value(word >> 16)
    return values[:count]


# ---- Tables ---------------------------------------------------------------------------------------------------------


def two_sided_tail(x):
    """P(|N(0,1)| > x) = 1 - 2 phi(x) (x + x^3/3 + x^5/(3 5) + x^7/(3 5 7) + ...), for a Decimal x."""
    term = total = x
    k = 1
    while term > Decimal("1e-60"):
        k += 2
        term = term * x * x / k
        total += term
    return 1 - 2 * total * (-x * x / 2).exp() / (2 * PI).sqrt()


def raised_cosine(x):
    """(1 + cos x) / 2, for a Decimal x."""
    term, total, k = Decimal(1), Decimal(0), 0
    while abs(term) > Decimal("1e-60"):
        total += term
        k += 2
        term = -term * x * x / (k * (k - 1))
    return (1 + total) / 2


PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def make_tables():
    with localcontext() as context:
        context.prec = 60
        two = Decimal(2)
        exp2 = [round(two ** (28 - Decimal(j) / 16)) for j in range(17)]
        log2 = [round(2**24 * (1 + Decimal(i) / 256).ln() / two.ln()) for i in range(257)]
        normal = [round(2**32 * two_sided_tail(Decimal(i) / 64)) for i in range(321)]
        cosine = [round(2**30 * raised_cosine(PI * i / 256)) for i in range(257)]
    return exp2, log2, normal, cosine


E, G, Q, C = make_tables()


def nearest(x):
    """The nearest integer to a Decimal that is no tie."""
    return int((x + Decimal("0.5")).to_integral_value("ROUND_FLOOR"))


@cache
def softmax_table():
    with localcontext() as context:
        context.prec = 60
        return [nearest(2**18 * (Decimal(-i) / 6).exp()) for i in range(256)]


@cache
def gelu_of(x):
    with localcontext() as context:
        context.prec = 60
        a = Decimal(x) / 16
        tail = two_sided_tail(abs(a)) / 2
        return nearest(16 * a * (1 - tail if x > 0 else tail))


def cosine_and_sine(x):
    parts, term, k = [Decimal(0), Decimal(0)], Decimal(1), 0
    while k <= x or abs(term) > Decimal("1e-50"):
        parts[k % 2] += term if k % 4 < 2 else -term
        k += 1
        term = term * x / k
    return parts


@cache
def turns(position):
    """C[position] and S[position]."""
    with localcontext() as context:
        context.prec = 60 + position  # as terms of the series grow before they fall
        angles = [position * (-Decimal(10000).ln() * i / 32).exp() for i in range(32)]
        return [tuple(nearest(2**20 * part) for part in cosine_and_sine(a)) for a in angles]


# ---- Program and tensors --------------------------------------------------------------------------------------------

Tensor = namedtuple("Tensor", "name layer rows cols constant")  # cols is 0 for a vector; constant None: noise


def declare(config):
    """The architecture's tensors, in order; a tensor's index is its place here."""
    return ARCHITECTURES[config.arch].declare(config)


def declare_transformer(config):
    d = config.dim
    tensors = []

    def vector(name, layer, width, constant):
        tensors.append(Tensor(name, layer, width, 0, constant))

    def add_norm(name, layer):
        vector(name + ".weight", layer, d, 16)
        vector(name + ".bias", layer, d, 0)

    def add_mlp(name, layer):
        for part, rows, cols in (".0", 4 * d, d), (".1", d, 4 * d):
            tensors.append(Tensor(f"{name}{part}.weight", layer, rows, cols, None))
            vector(f"{name}{part}.bias", layer, rows, 0)

    tensors.append(Tensor("embed.weight", None, config.vocab, d, None))
    vector("embed.bias", None, d, 0)
    add_norm("first.ln", None)
    add_mlp("first.mlp", None)
    for layer in range(config.layers):
        add_norm("blocks.ln1", layer)
        for letter in "qkvo":
            tensors.append(Tensor("blocks.att.W" + letter, layer, d, d, None))
        add_norm("blocks.ln2", layer)
        add_mlp("blocks.mlp", layer)
    add_norm("ln_out", None)
    return tensors


def declare_egg(config):
    d = config.dim
    tensors = [Tensor("emb", None, config.vocab, d, None)]
    for layer in range(config.layers):
        tensors.append(Tensor("blocks.ln1.weight", layer, d, 0, 16))
        for gate_name in "f", "h":
            tensors.append(Tensor("blocks.att.W" + gate_name, layer, d, d, None))
            tensors.append(Tensor("blocks.att.U" + gate_name, layer, d, d, None))
            tensors.append(Tensor("blocks.att.b" + gate_name, layer, d, 0, 0))
        tensors.append(Tensor("blocks.ln2.weight", layer, d, 0, 16))
        tensors.append(Tensor("blocks.mlp.0.weight", layer, 4 * d, d, None))
        tensors.append(Tensor("blocks.mlp.1.weight", layer, d, 4 * d, None))
    tensors.append(Tensor("ln_out.weight", None, d, 0, 16))
    tensors.append(Tensor("head", None, config.vocab, d, None))
    return tensors


def shape(flat, tensor):
    """Weights are kept as a list of rows for a matrix, and a list of numbers for a vector."""
    if not tensor.cols:
        return list(flat)
    return [list(flat[n * tensor.cols : (n + 1) * tensor.cols]) for n in range(tensor.rows)]


def flatten(values, tensor):
    return [w for row in values for w in row] if tensor.cols else values


def initial_weights(config):
    weights = []
    for index, tensor in enumerate(declare(config)):
        count = tensor.rows * (tensor.cols or 1)
        if tensor.constant is None:
            flat = noise(config.seed, 0, 0, index, 0, ROLE_INITIAL, count)
        else:
            flat = [tensor.constant] * count
        weights.append(shape(flat, tensor))
    return weights


def read_safetensors(config, path):
    """Weights from a file; the tensors of the layers are stacked there, with the layer as their first dimension."""
    with open(path, "rb") as file:
        content = file.read()
    start = 8 + struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8:start])
    weights = []
    for tensor in declare(config):
        entry = header[tensor.name]
        expected = [] if tensor.layer is None else [config.layers]
        expected += [tensor.rows, tensor.cols] if tensor.cols else [tensor.rows]
        if entry["dtype"] != "I8" or entry["shape"] != expected:
            raise ValueError(f"{tensor.name} should be I8 {expected}, not {entry['dtype']} {entry['shape']}")
        count = tensor.rows * (tensor.cols or 1)
        flat = struct.unpack_from(f"{count}b", content, start + entry["data_offsets"][0] + count * (tensor.layer or 0))
        weights.append(shape(flat, tensor))
    return weights


# ---- Perturbation ---------------------------------------------------------------------------------------------------

Factors = namedtuple("Factors", "a b")  # a[j][n] and b[j][k] of one tensor


def pair_noise(config, epoch, pair):
    """The factors of every tensor for a pair."""
    factors = []
    for index, tensor in enumerate(declare(config)):
        components = range(config.rank if tensor.cols else 1)
        name = (config.seed, epoch, pair, index)
        a = [noise(*name, j, ROLE_A, tensor.rows) for j in components]
        b = [noise(*name, j, ROLE_B, tensor.cols or tensor.rows) for j in components]
        factors.append(Factors(a, b))
    return factors


class Member:
    """The weights as a member of the population sees them; without factors, the weights themselves."""

    def __init__(self, config, weights, factors=None, direction=0):
        self.weights, self.factors, self.direction = weights, factors, direction
        self.shift = 4 + config.sigma_shift

    def sums(self, x, index):
        """The products of x with the rows of a matrix, before division."""
        sums = [dot(x, row) for row in self.weights[index]]
        if self.factors:
            f = self.factors[index]
            xb = [dot(x, b) for b in f.b]
            sums = [y + self.direction * (dot(xb, a) >> self.shift) for y, a in zip(sums, zip(*f.a))]
        return sums

    def row(self, token, index):
        row = self.weights[index][token]
        if self.factors:
            f = self.factors[index]
            a = [a[token] for a in f.a]
            row = [w + self.direction * (dot(a, b) >> self.shift) for w, b in zip(row, zip(*f.b))]
        return row

    def vector(self, index):
        w = self.weights[index]
        if self.factors:
            f = self.factors[index]
            w = [clip(v + self.direction * (a * b >> self.shift)) for v, a, b in zip(w, f.a[0], f.b[0])]
        return w


# ---- Ops ------------------------------------------------------------------------------------------------------------


def embed(member, token, index):
    return [clip(w) for w in member.row(token, index)]


def matmul(member, x, index, divisor):
    return [clip(y // divisor) for y in member.sums(x, index)]


def norm(member, x, index, truncates):
    m = max(1, sum(map(abs, x)) // len(x))
    divide = truncate if truncates else int.__floordiv__
    return [clip(divide(a * w, m)) for a, w in zip(x, member.vector(index))]


def add(x, y):
    return [clip(a + b) for a, b in zip(x, y)]


def add_bias(member, x, y, index):
    return [clip(a + b + w) for a, b, w in zip(x, y, member.vector(index))]


def gate(x, y):
    return [(a + 127) * b >> 8 for a, b in zip(x, y)]


def mix(x, y, z):
    return [b + ((a + 127) * (c - b) >> 8) for a, b, c in zip(x, y, z)]


def relu(x):
    return [max(a, 0) for a in x]


def bias(member, x, index):
    return [clip(a + w) for a, w in zip(x, member.vector(index))]


def gelu(x):
    return [gelu_of(a) for a in x]


def rescale(x):
    m = max(map(abs, x))
    return [(254 * a + m) // (2 * m) for a in x] if m else x


def add_rescale(x, y):
    return rescale([a + b for a, b in zip(x, y)])


def rotate(x, position):
    r = []
    for n in range(0, len(x), 2):
        c, s = turns(position)[n % 64 // 2]
        r.append(x[n] * c - x[n + 1] * s + 2**19 >> 20)
        r.append(x[n] * s + x[n + 1] * c + 2**19 >> 20)
    return rescale(r)


def attend(x, keys, values):
    """keys and values are those of the window so far, this token's last."""
    result = []
    for head in range(0, len(x), 64):
        part = slice(head, head + 64)
        s = [dot(x[part], key[part]) >> 8 for key in keys]
        e = [softmax_table()[min(255, max(s) - score)] for score in s]
        result += [dot(e, column) // sum(e) for column in zip(*(value[part] for value in values))]
    return result


# ---- The egg architecture -------------------------------------------------------------------------------------------


def zero_state(config):
    return ARCHITECTURES[config.arch].zero_state(config)


def forward(config, member, token, state):
    """The logits after a token, and the state after it."""
    return ARCHITECTURES[config.arch].forward(config, member, token, state)


def zero_egg(config):
    return [[0] * config.dim for _ in range(config.layers)]


def forward_egg(config, member, token, state):
    """The state is a list for each layer."""
    egg_c = config.dialect == "egg.c"

    def product(x, index):
        if egg_c:
            return matmul(member, x, index, 512 if len(x) == 4 * config.dim else 256)
        return matmul(member, x, index, 16 * isqrt(len(x)))

    if token == 0:
        state = zero_state(config)
    new_state = []
    x = embed(member, token, 0)
    for layer, h in enumerate(state):
        ln1, wf, uf, bf, wh, uh, bh, ln2, mlp0, mlp1 = range(1 + 10 * layer, 11 + 10 * layer)
        n = norm(member, x, ln1, egg_c)
        f = add_bias(member, product(n, wf), product(h, uf), bf)
        g = gate(f, h)
        c = add_bias(member, product(n, wh), product(g, uh), bh)
        h = mix(f, h, c)
        new_state.append(h)
        x = add(h, x)
        hidden = product(norm(member, x, ln2, egg_c), mlp0)
        if config.activation == "relu":
            hidden = relu(hidden)
        x = add(product(hidden, mlp1), x)
    ln_out = 1 + 10 * config.layers
    return product(norm(member, x, ln_out, egg_c), ln_out + 1), new_state


# ---- The transformer architecture ------------------------------------------------------------------------------------


def empty_window(config):
    return [([], []) for _ in range(config.layers)]


def forward_transformer(config, member, token, state):
    """The state is each layer's keys and values of the window so far."""
    if token == 0 or len(state[0][0]) == config.window:
        state = empty_window(config)
    position = len(state[0][0])
    unit, wide_unit = 16 * isqrt(config.dim), 16 * isqrt(4 * config.dim)
    index = 2  # of the next tensor

    def ln(x):
        nonlocal index
        index += 2
        return bias(member, norm(member, x, index - 2, True), index - 1)

    def mlp(x):
        nonlocal index
        n = ln(x)
        index += 4
        hidden = gelu(bias(member, matmul(member, n, index - 4, unit), index - 3))
        return add_rescale(x, bias(member, matmul(member, hidden, index - 2, 2 * wide_unit), index - 1))

    x = mlp(bias(member, embed(member, token, 0), 1))
    new_state = []
    for keys, values in state:
        n = ln(x)
        wq, wk, wv, wo = range(index, index + 4)
        index += 4
        q, k = (rotate(matmul(member, n, w, unit // 2), position) for w in (wq, wk))
        keys, values = keys + [k], values + [rescale(matmul(member, n, wv, unit // 2))]
        new_state.append((keys, values))
        x = add_rescale(x, matmul(member, attend(q, keys, values), wo, 2 * unit))
        x = mlp(x)
    return matmul(member, ln(x), 0, unit), new_state


Architecture = namedtuple("Architecture", "declare zero_state forward")
ARCHITECTURES = {
    "egg": Architecture(declare_egg, zero_egg, forward_egg),
    "transformer": Architecture(declare_transformer, empty_window, forward_transformer),
}


def logits_of(config, weights, tokens):
    """The logits after each token of a text, without noise, from a zero state."""
    member, state, result = Member(config, weights), zero_state(config), []
    for token in tokens:
        logits, state = forward(config, member, token, state)
        result.append(logits)
    return result


# ---- Loss -----------------------------------------------------------------------------------------------------------


def weight_of(distance):
    """2^28 · 2^(-distance/16)."""
    return E[distance % 16] >> distance // 16


def log2_q24(s):
    e = s.bit_length() - 1
    m = s << 63 - e
    i, q = m >> 55 & 255, m >> 23 & MASK32
    return (e << 24) + G[i] + ((G[i + 1] - G[i]) * q >> 32)


def loss_of(logits, target):
    m = max(logits)
    s = sum(weight_of(m - v) for v in logits)
    return (log2_q24(s) + 8 >> 4) - 28 * 2**20 + (m - logits[target]) * 2**16


# ---- Text -----------------------------------------------------------------------------------------------------------


def window(config, tokens, step, stream):
    """The tokens of a stream's step: tokens_per_update inputs and one more, the last target."""
    n, t = len(tokens), config.tokens_per_update
    start = n * stream // (config.population // config.group_size) + step * t
    return [tokens[(start + i) % n] for i in range(t + 1)]


def stream_of(config, member):
    """The stream that a member reads."""
    if config.texts_per_pair == 1:
        return member // config.group_size
    block, minus = member // (2 * config.group_size), member % 2
    return 2 * block + minus


def loss_of_text(config, member, text, state):
    """The sum of losses where each token of a text predicts the next, and the state at its end."""
    total = 0
    for token, target in zip(text, text[1:]):
        logits, state = forward(config, member, token, state)
        total += loss_of(logits, target)
    return total, state


def evaluate_held_out(config, weights, tokens, streams=1, limit=None):
    """The sum of losses and the number of predicted tokens; limit is for each stream."""
    member, total = Member(config, weights), 0
    count = (len(tokens) - 1) // streams
    if limit is not None:
        count = min(count, limit)
    for s in range(streams):
        start = (len(tokens) - 1) * s // streams
        total += loss_of_text(config, member, tokens[start : start + count + 1], zero_state(config))[0]
    return total, count * streams


# ---- A step ---------------------------------------------------------------------------------------------------------


def comparable(config, losses):
    """Losses less the mean of their text, where a pair reads two."""
    if config.texts_per_pair == 1:
        return losses
    streams = [stream_of(config, m) for m in range(config.population)]
    means = [sum(l for l, s in zip(losses, streams) if s == stream) // config.group_size for stream in range(max(streams) + 1)]
    return [l - means[s] for l, s in zip(losses, streams)]


def fitness_of(kind, losses, group_size=2):
    """Of comparable losses; group_size members in a row are measured together."""
    if kind == "grouped":
        groups = [losses[i : i + group_size] for i in range(0, len(losses), group_size)]
        return [f for group in groups for f in fitness_of("scaled", group)]
    d = [minus - plus for plus, minus in zip(losses[::2], losses[1::2])]
    if kind == "sign":
        return [sign(a) for a in d]
    mean_size = max(1, sum(map(abs, d)) // len(d))
    sizes = [32 * abs(a) // mean_size for a in d]
    if kind == "strong":
        return [sign(a) if size >= 16 else 0 for a, size in zip(d, sizes)]
    return [sign(a) * min(127 if kind == "scaled" else 32, size) for a, size in zip(d, sizes)]


def votes(tensor, factors, fitness):
    """The votes on a tensor's weights, shaped like them; factors[p] are pair p's for this tensor."""
    if not tensor.cols:
        return [sum(f * p.a[0][n] * p.b[0][n] for f, p in zip(fitness, factors)) for n in range(tensor.rows)]
    left = [[f * v for v in a] for f, p in zip(fitness, factors) for a in p.a]
    right = [b for p in factors for b in p.b]
    columns = list(zip(*right))
    return [[dot(row, column) for column in columns] for row in zip(*left)]


def scheduled(config, start, decay, step):
    """alpha or rate at a step, with 30 fractional bits."""
    value = q_down(start, 30)
    length = config.schedule_steps or max(1, config.steps)
    if config.schedule == "inverse":
        value = value * 2**30 // (2**30 + q_down(decay, 30) * step)
    if config.schedule == "root":
        value = value * 2**16 // isqrt((2**30 + q_down(decay, 30) * step) * 4)
    if config.schedule == "cosine":
        x = min(step, length) * 2**24 // length
        i, rest = x >> 16, x % 2**16
        value = value * (C[i] - ((C[i] - C[i + 1]) * rest >> 16) if i < 256 else C[256]) >> 30
    if step < config.warmup:
        value = value * (step + 1) // config.warmup
    if config.cooldown and step >= length - config.cooldown:
        value = value * max(0, length - step) // (config.cooldown + 1)
    return max(1, value)


def normal_quantile(alpha_q30):
    """z with 16 fractional bits, such that P(|N(0,1)| > z) is alpha."""
    tail = 4 * alpha_q30
    for i, q in enumerate(Q):
        if q == tail:
            return i * 1024
        if q < tail:
            return i * 1024 - (tail - q) * 1024 // (Q[i - 1] - q)
    return 320 * 1024


def threshold_of(config, tensor, fitness, alpha_q30):
    return normal_quantile(alpha_q30) * deviation_of(config, tensor, fitness) >> 16


def deviation_of(config, tensor, fitness):
    r = config.rank if tensor.cols else 1
    return isqrt(r * sum(f * f for f in fitness) * 2**16)


def rounded(a, bits):
    return (a + 2**bits // 2) >> bits


def in_deviations(vote, deviation):
    """A vote in deviations, with 12 fractional bits."""
    if deviation == 0:
        return 0
    e = deviation.bit_length() - 1
    shift = max(0, e - 11)
    cut = rounded(min(max(vote, -8 * deviation), 8 * deviation), shift)
    return rounded(cut * (2 ** (15 + e) // deviation), e - shift + 3)


def mean(m, b, v, f):
    return m + rounded((v - rounded(m, b)) * f, 14 - b)


def gone(forget, count):
    kept, factor = 2**30, 2**30 - forget * 2**16
    while count:
        if count % 2:
            kept = kept * factor >> 30
        factor = factor * factor >> 30
        count //= 2
    return 2**30 - kept


# A rule is a class made for each step and tensor; move() gives the new weight, and changes what is remembered of it.


class Threshold:
    memory = ()

    def __init__(self, config, tensor, fitness, step):
        alpha_q30 = scheduled(config, config.alpha, config.alpha_decay, step)
        self.threshold = threshold_of(config, tensor, fitness, alpha_q30)

    def move(self, w, vote, _):
        return clip(w + sign(vote)) if abs(vote) > self.threshold else w


class Carry:
    memory = ("fraction",)

    def __init__(self, config, tensor, fitness, step):
        self.deviation = deviation_of(config, tensor, fitness)
        self.forget = (2**30 - q_down(config.momentum, 30)) >> 16
        self.forget2 = (2**30 - q_down(config.square_momentum, 30)) >> 16
        rate_q30 = scheduled(config, config.rate, config.rate_decay, step)
        self.rate = self.corrected(rate_q30, step) >> 18
        self.decay = min(2**22, (rate_q30 * q_down(config.weight_decay, 30) >> 30) >> 6)

    def corrected(self, rate_q30, step):
        return rate_q30

    def direction(self, v, memory):
        return v

    def move(self, w, vote, memory):
        d = self.direction(in_deviations(vote, self.deviation), memory)
        u = memory[-1] + d * self.rate - w * self.decay
        steps = rounded(u, 24)
        memory[-1] = u - steps * 2**24
        return clip(w + steps)


class Momentum(Carry):
    memory = ("momentum", "fraction")

    def direction(self, v, memory):
        memory[0] = mean(memory[0], 4, v, self.forget)
        return rounded(memory[0], 4)


class AdamW(Momentum):
    memory = ("momentum", "square", "fraction")

    def corrected(self, rate_q30, step):
        root = isqrt(gone(self.forget2, step + 1) * 2**30)
        return min(2**33, rate_q30 * root // gone(self.forget, step + 1))

    def direction(self, v, memory):
        m = super().direction(v, memory)
        memory[1] = mean(memory[1], 8, rounded(v * v, 14), self.forget2)
        d = truncate(m * 2**12, isqrt(max(memory[1], 0) * 2**6) + 1)
        return max(-8 * 2**12, min(8 * 2**12, d))


RULES = {"threshold": Threshold, "momentum": Momentum, "carry": Carry, "adamw": AdamW}


def update(row, row_votes, rule, memory):
    """Moves weights in place, and their memory; returns how many changed."""
    moved = 0
    for n, v in enumerate(row_votes):
        w = rule.move(row[n], v, memory[n])
        moved += w != row[n]
        row[n] = w
    return moved


def empty_memory(config):
    """A list of zeros for each weight, by tensor, flat."""
    words = len(RULES[config.rule].memory)
    return [[[0] * words for _ in range(t.rows * (t.cols or 1))] for t in declare(config)]


def train(config, tokens, steps=None, weights=None, memory=None):
    """Trains `weights` (the seed's initial weights unless given) and the rule's memory in place; yields a dict for
    each step."""
    if memory is None:
        memory = empty_memory(config)
    if weights is None:
        weights = initial_weights(config)
    tensors = declare(config)
    pairs = range(config.population // 2)
    states = [zero_state(config) for _ in range(config.population)]
    noise_epoch, factors = None, None
    for step in range(config.steps if steps is None else steps):
        epoch = step // config.noise_reuse if config.noise_reuse else 0
        if epoch != noise_epoch:
            noise_epoch, factors = epoch, [pair_noise(config, epoch, p) for p in pairs]
        losses = []
        for m in range(config.population):
            member = Member(config, weights, factors[m // 2], -1 if m % 2 else 1)
            text = window(config, tokens, step, stream_of(config, m))
            state = states[m] if config.carry == "keep" else zero_state(config)
            loss, states[m] = loss_of_text(config, member, text, state)
            losses.append(loss)
        fitness = fitness_of(config.fitness, comparable(config, losses), config.texts_per_pair * config.group_size)
        moved = 0
        for index, tensor in enumerate(tensors):
            v = votes(tensor, [factors[p][index] for p in pairs], fitness)
            rule = RULES[config.rule](config, tensor, fitness, step)
            rows = zip(weights[index], v) if tensor.cols else [(weights[index], v)]
            for n, (row, row_votes) in enumerate(rows):
                moved += update(row, row_votes, rule, memory[index][n * len(row) : (n + 1) * len(row)])
        yield {"step": step, "losses": losses, "fitness": fitness, "moved": moved, "digest": digest(config, weights)}


# ---- Digest of weights ----------------------------------------------------------------------------------------------


def mix64(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK64
    return z ^ z >> 31


def digest(config, weights):
    total = 0
    for i, tensor in enumerate(declare(config)):
        data = bytes(w & 255 for w in flatten(weights[i], tensor))
        for j in range((len(data) + 7) // 8):
            word = int.from_bytes(data[8 * j : 8 * j + 8], "little")
            total += mix64(mix64((i << 32) + j + 0x9E3779B97F4A7C15 & MASK64) ^ word)
    return f"{total & MASK64:016x}"


# ---- Sampling -------------------------------------------------------------------------------------------------------


def sample(logits, position, seed, temperature_q16, top_k=0, top_p_q16=2**16, min_p_q16=0):
    """The token at a position of a text, from the logits after the token before."""
    m = max(logits)
    kept = sorted(range(len(logits)), key=lambda v: (-logits[v], v))
    if temperature_q16 == 0:
        return kept[0]
    u = [weight_of(m - v) for v in logits]
    if top_k:
        kept = kept[:top_k]
    total, running, length = sum(u[v] for v in kept), 0, 0
    while length == 0 or running << 16 < top_p_q16 * total and length < len(kept):
        running += u[kept[length]]
        length += 1
    kept = kept[:length]
    kept = [v for v in kept if u[v] << 16 >= min_p_q16 * u[kept[0]]]

    def tempered(v):
        x = min(MASK32, ((m - logits[v]) << 28) // temperature_q16)
        i, j, q = x >> 16, x >> 12 & 15, x & 4095
        return 0 if i >= 32 else E[j] - ((E[j] - E[j + 1]) * q >> 12) >> i

    words = noise_block(seed, position, 0, 0, 0, ROLE_SAMPLING, 0)
    goal = (words[0] + (words[1] << 32)) * sum(map(tempered, kept)) >> 64
    running = 0
    for v in kept:
        running += tempered(v)
        if running > goal:
            return v
    raise ValueError("no token is kept")


def generate(config, weights, prompt, count, seed, temperature=1, top_k=0, top_p=1, min_p=0):
    """`count` tokens that follow the prompt (token numbers, at least one)."""
    if not prompt:
        raise ValueError("the prompt is empty")
    member, state, result = Member(config, weights), zero_state(config), []
    options = [q_nearest(temperature, 16), top_k, q_nearest(top_p, 16), q_nearest(min_p, 16)]
    for token in prompt:
        logits, state = forward(config, member, token, state)
    for position in range(len(prompt), len(prompt) + count):
        result.append(sample(logits, position, seed, *options))
        logits, state = forward(config, member, result[-1], state)
    return result


# ---- Command line ---------------------------------------------------------------------------------------------------


def read_tokens(path):
    with open(path, "rb") as file:
        return [token for (token,) in struct.iter_unpack("<H", file.read())]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in "train", "logits", "evaluate", "generate", "initial":
        command = commands.add_parser(name)
        command.add_argument("--config", required=True)
        command.add_argument("--weights")
        if name in ("train", "logits", "evaluate"):
            command.add_argument("--tokens", required=True)
        if name == "evaluate":
            command.add_argument("--streams", type=int, default=1)
            command.add_argument("--limit", type=int)
        if name == "generate":
            prompt = command.add_mutually_exclusive_group(required=True)
            prompt.add_argument("--prompt", help="text; its UTF-8 bytes are the tokens")
            prompt.add_argument("--prompt-tokens", help="token numbers with commas between them")
            command.add_argument("--count", type=int, required=True)
            command.add_argument("--seed", type=int, required=True)
            command.add_argument("--temp", default="1")
            command.add_argument("--top-k", type=int, default=0)
            command.add_argument("--top-p", default="1")
            command.add_argument("--min-p", default="0")
    command = commands.add_parser("noise")
    for name in "seed", "epoch", "pair", "tensor", "component", "role", "count":
        command.add_argument("--" + name, type=int, required=name in ("seed", "count"), default=0)
    args = parser.parse_args()

    if args.command == "noise":
        name = (args.seed, args.epoch, args.pair, args.tensor, args.component, args.role)
        print(json.dumps(noise(*name, args.count)))
        return
    with open(args.config, encoding="utf-8") as file:
        config = Config(**json.load(file))
    weights = read_safetensors(config, args.weights) if args.weights else initial_weights(config)
    if args.command == "train":
        for line in train(config, read_tokens(args.tokens), weights=weights):
            print(json.dumps(line), flush=True)
    elif args.command == "logits":
        for logits in logits_of(config, weights, read_tokens(args.tokens)):
            print(json.dumps(logits))
    elif args.command == "evaluate":
        total, count = evaluate_held_out(config, weights, read_tokens(args.tokens), args.streams, args.limit)
        print(json.dumps({"loss": total, "tokens": count, "bits": total / 2**20 / count}))
    elif args.command == "generate":
        if args.prompt is None:
            prompt = [int(token) for token in args.prompt_tokens.split(",")]
        else:
            prompt = list(args.prompt.encode())
        options = (args.temp, args.top_k, args.top_p, args.min_p)
        print(json.dumps(generate(config, weights, prompt, args.count, args.seed, *options)))
    else:
        print(digest(config, weights))


if __name__ == "__main__":
    main()
