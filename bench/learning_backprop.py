#!/usr/bin/env python3
"""The egg's shape trained by backpropagation, for comparison: floats, AdamW, the same bytes (needs PyTorch).

Per layer: norm, a minimal gated unit of four D x D matrices, residual, norm, D -> 4D -> D, residual; as docs/NUMERICS.md
has it, but with float weights, a sigmoid for the gate, tanh for the candidate and a ReLU between the MLP's products,
without which backpropagation learns less. Prints one JSON line per measurement; those
of bench/learning_backprop.jsonl are on the page.

    bench/learning_backprop.py --data wikitext2-a.txt --valid wikitext2-b.txt --tokens 6400000
"""
import argparse
import json
import math
import time

import numpy
import torch
from torch import nn
from torch.nn import functional


class Layer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.wf, self.wh = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.uf, self.uh = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.down = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(4 * dim, dim, bias=False)

    def forward(self, x, h):
        """x [T][streams][D], h [streams][D] -> outputs like x, the last h."""
        y = self.first(x)
        gates, candidates, outputs = self.wf(y), self.wh(y), []
        for t in range(x.shape[0]):
            f = torch.sigmoid(gates[t] + self.uf(h))
            c = torch.tanh(candidates[t] + self.uh(f * h))
            h = h + f * (c - h)
            outputs.append(h)
        x = x + torch.stack(outputs)
        return x + self.down(functional.relu(self.up(self.second(x)))), h


class Model(nn.Module):
    def __init__(self, dim, layers):
        super().__init__()
        self.embed, self.head = nn.Embedding(256, dim), nn.Linear(dim, 256, bias=False)
        self.layers = nn.ModuleList(Layer(dim) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens, states):
        x, after = self.embed(tokens), []
        for layer, h in zip(self.layers, states):
            x, h = layer(x, h)
            after.append(h)
        return self.head(self.norm(x)), after


def read(path):
    return torch.from_numpy(numpy.fromfile(path, dtype=numpy.uint8).astype(numpy.int64))


def zeros(args, streams):
    return [torch.zeros(streams, args.dim) for _ in range(args.layers)]


@torch.no_grad()
def held_out(model, args, text, streams=64):
    """Bits per byte of all of the text, in so many streams, each from a fresh state."""
    length = (len(text) - 1) // streams
    starts = torch.arange(streams) * length
    states, loss = zeros(args, streams), 0.0
    for first in range(0, length, args.length):
        count = min(args.length, length - first)
        at = starts[None, :] + first + torch.arange(count)[:, None]
        logits, states = model(text[at], states)
        loss += functional.cross_entropy(logits.flatten(0, 1), text[at + 1].flatten(), reduction="sum").item()
    return loss / math.log(2) / (length * streams)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=20_000_000, help="trained on in all: one forward and one backward pass each")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--length", type=int, default=100, help="tokens per update and stream; states carry over")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--points", type=int, default=4, help="measurements of held-out text on the way")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    text, valid, model = read(args.data), read(args.valid), Model(args.dim, args.layers)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=args.decay)
    steps = args.tokens // (args.streams * args.length)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, total_steps=steps, pct_start=0.05)
    starts, states = torch.arange(args.streams) * (len(text) // args.streams), zeros(args, args.streams)
    spent, parameters = 0.0, sum(p.numel() for p in model.parameters())
    for step in range(steps):
        begin = time.process_time()
        at = (starts[None, :] + step * args.length + torch.arange(args.length)[:, None]) % (len(text) - 1)
        logits, states = model(text[at], [h.detach() for h in states])
        loss = functional.cross_entropy(logits.flatten(0, 1), text[at + 1].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        spent += time.process_time() - begin
        if (step + 1) % max(1, steps // args.points) == 0:
            tokens = (step + 1) * args.streams * args.length
            print(json.dumps({"dim": args.dim, "layers": args.layers, "parameters": parameters, "tokens": tokens,
                              "held_out": held_out(model, args, valid), "distinct_tokens": min(len(text), tokens),
                              "core_hours": spent / 3600, "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
