#!/usr/bin/env python3
"""The numbers of docs/SWARM.md: a plan for training by machines that come and go, of which nothing is built.

`update`, `traffic`, `audit` and `signal` are arithmetic; `steps` simulates a swarm event by event: workers of
unequal speed pull tasks over a network with latency, some tasks straggle, some workers vanish. It knows no
Clutch program and measures nothing. Output is Markdown; a seed always gives the same.
"""
import argparse
import heapq
import math
import random
import statistics
from collections import deque

NOISE_MAX = 47  # docs/NUMERICS.md: the largest noise value
RECORD_BYTES = 32  # of a log record beside the fitness: step, loss, digest, checksum
TASK_BYTES = 8 + 4 + 4 + 32  # step, first pair, pairs, root hash of the weights
RESULT_BYTES = 32 + 8 + 32 + 64  # task, sum of losses, hash of all losses, signature; beside the fitness
POLICIES = ("all", "95%", "backup", "twice")
UPDATES = ("every", "blocks", "core")


def egg_weights(dim, layers, vocab=256):
    """Weights of the egg architecture (docs/NUMERICS.md)."""
    return 2 * vocab * dim + layers * (12 * dim * dim + 4 * dim) + dim


def packed_bytes(pairs):
    return (pairs + 4) // 5


def entropy_bits(share):
    """Bits a weight of a diff takes at best when `share` of the weights move, up and down alike."""
    if share <= 0:
        return 0.0
    rest = -(1 - share) * math.log2(1 - share) if share < 1 else 0.0
    return share - share * math.log2(share) + rest


def diff_bytes(weights, moved):
    return math.ceil(weights * entropy_bits(moved) / 8)


def human(count, unit="B"):
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {prefix}{unit}"
    return f"{count:.3g} {unit}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


# --- update: what rebuilding the weights costs -------------------------------------------------------------

def update_ratio(workers, tokens, rank=1, vote_cost=1.0):
    """Time a worker spends on a whole update, over the time it spends on its share of the evaluation."""
    return workers * rank * vote_cost / (2 * tokens)


def speedup_every(workers, tokens, rank=1, vote_cost=1.0):
    """Of `workers` that each apply the whole update, over one worker that does everything."""
    part = update_ratio(1, tokens, rank, vote_cost)
    return (1 + part) / (1 / workers + part)


def speedup_blocks(workers, tokens, rank=1, vote_cost=1.0, weights=egg_weights(256, 6), noise_cost=4.0):
    """Of workers that each vote on one square block of weights, making its 2·side noise values of every pair."""
    part = update_ratio(1, tokens, rank, vote_cost)
    side = math.sqrt(weights / workers)
    return (1 + part) / ((1 + part * (1 + 2 * noise_cost / side)) / workers)


def command_update(args):
    weights = egg_weights(args.dim, args.layers)
    head, rows = ["workers R"], [[workers] for workers in args.workers]
    for tokens in args.tokens:
        head += [f"T={tokens}: update / evaluation", "speed-up, every worker updates", "speed-up, blocks"]
        for row in rows:
            row += [f"{update_ratio(row[0], tokens, args.rank, args.vote_cost):g}",
                    f"{speedup_every(row[0], tokens, args.rank, args.vote_cost):.0f}",
                    f"{speedup_blocks(row[0], tokens, args.rank, args.vote_cost, weights):.0f}"]
    return table(head, rows)


# --- traffic -----------------------------------------------------------------------------------------------

def traffic(population, workers, weights, moved, state_width, tasks_per_worker=8):
    pairs = population // 2
    task_pairs = max(25, 5 * math.ceil(pairs / (5 * tasks_per_worker * workers)))
    tasks = math.ceil(pairs / task_pairs)
    record = RECORD_BYTES + packed_bytes(pairs)
    return {"pairs": pairs, "task_pairs": task_pairs, "tasks": tasks, "record": record,
            "tasks_out": tasks * TASK_BYTES, "results_in": tasks * RESULT_BYTES + packed_bytes(pairs),
            "records_out": record * workers, "diff": diff_bytes(weights, moved),
            "diffs_out": diff_bytes(weights, moved) * workers,
            "states": population * state_width}


def command_traffic(args):
    weights = egg_weights(args.dim, args.layers)
    runs = [traffic(p, args.workers, weights, args.moved, args.dim * args.layers) for p in args.population]
    named = [("tasks; pairs in each", lambda t: f"{t['tasks']}; {t['task_pairs']}"),
             ("tasks out; answers in", lambda t: human(t["tasks_out"]) + "; " + human(t["results_in"])),
             ("record (fitness of all pairs) to each worker; to all",
              lambda t: human(t["record"]) + "; " + human(t["records_out"])),
             ("or diff of the weights to each worker; to all",
              lambda t: human(t["diff"]) + "; " + human(t["diffs_out"])),
             ("member states, `--carry keep`", lambda t: human(t["states"]))]
    head = ["per step"] + [f"population 10^{math.log10(p):.3g}" for p in args.population]
    shares = [0.5, 0.1, 0.01, 0.001]
    models = [(256, 6), (1024, 24)]
    diffs = [[f"D={d} L={n}: {human(egg_weights(d, n), '')}".strip(), human(egg_weights(d, n)),
              human(math.ceil(egg_weights(d, n) / 5))] + [human(diff_bytes(egg_weights(d, n), s)) for s in shares]
             for d, n in models]
    most = 2 * ((2 ** 31 - 1) // NOISE_MAX ** 2)
    return (table(head, [[name] + [show(t) for t in runs] for name, show in named]) + "\n\n" +
            table(["weights", "all of them", "diff, 5 trits a byte"] + [f"entropy-coded, {s:g} move" for s in shares],
                  diffs) + f"\n\nVotes fit 32 bits (rank 1, fitness sign) up to a population of {most}.")


# --- audit -------------------------------------------------------------------------------------------------

def disagreement(window_share):
    """Chance that the sign of a loss difference changes when only this share of the tokens is evaluated: the
    two sums are near normal with correlation sqrt(share)."""
    return math.acos(math.sqrt(window_share)) / math.pi


def samples_needed(cheated, visible, certainty=0.99):
    """Audited pairs until a worker that cheats on a share of its pairs is caught, each time with chance `visible`."""
    chance = cheated * visible
    return 1 if chance >= 1 else math.ceil(math.log(1 - certainty) / math.log(1 - chance))


def caught(pairs, share, cheated, visible):
    """Chance that auditing a share of a worker's pairs catches it."""
    return 1 - (1 - share * cheated * visible) ** pairs


def colluding(share):
    """Chance that a task evaluated by two, by three, is in the hands of a colluding pair that outvotes the rest."""
    return share ** 2, 3 * share ** 2 - 2 * share ** 3


def command_audit(args):
    ways = [("sign flipped, or losses hashed", 1.0), ("sign guessed", 0.5),
            ("half of the window", disagreement(0.5)), ("0.9 of the window", disagreement(0.9))]
    shares = [1, 0.1, 0.01, 0.001]
    needed = [[name, f"{visible:.2f}"] + [samples_needed(c, visible) for c in shares] for name, visible in ways]
    per_worker = args.population // 2 // args.workers
    cost = [[f"{s:g}", f"{per_worker * s:g}", f"{args.population / 2 * s:g}", f"{args.workers * s:g}",
             f"{caught(per_worker, s, 1, 0.5):.3f}", f"{caught(per_worker, s, 0.01, 0.5):.3f}",
             math.ceil(math.log(0.01) / math.log(1 - caught(per_worker, s, 0.01, 0.5))),
             f"{(1 - s) ** 1000:.2g}"]
            for s in (0.001, 0.01, 0.05)]
    collusion = "; ".join("q={:g}: {:.4f} and {:.4f}".format(q, *colluding(q)) for q in (0.01, 0.1, 0.3))
    return "\n\n".join([
        table(["cheat", "seen in an audited pair"] + [f"{c:g} of its pairs" for c in shares], needed),
        table(["sampled share s", "pairs a worker", "pairs a step", "auditors (as workers)",
               "caught in a step: guesses all", "guesses 1 %", "steps to 99 % for that",
               "1000 wrong tasks pass"], cost),
        f"Both of two workers, two of three, of a colluding share q: {collusion}"])


# --- signal: what missing, random and reversed pairs do to the votes ---------------------------------------

def signal(share):
    """Vote over its deviation, relative to a whole population, when this share of its pairs is missing (fitness
    0), random, reversed."""
    return math.sqrt(1 - share), 1 - share, 1 - 2 * share


def steering(share, pairs, task_pairs):
    """Deviations by which a share of the pairs can push one direction of its choice per step when it withholds
    the tasks that do not suit it, and nobody evaluates those instead."""
    return share * math.sqrt(pairs / task_pairs) / math.sqrt(2 * math.pi)


def sampled_signal(share, kind, pairs, trials, effect, seed):
    """The same ratio by drawing votes: each pair's fitness agrees with the true direction a little (effect)."""
    rng = random.Random(seed)
    sums = []
    for _ in range(trials):
        total = 0
        for pair in range(pairs):
            fitness = 1 if rng.random() < 0.5 + effect / 2 else -1
            if pair < share * pairs:
                fitness = {"missing": 0, "random": rng.choice((-1, 1)), "reversed": -fitness}[kind]
            total += fitness
        sums.append(total)
    return statistics.mean(sums) / statistics.pstdev(sums)


def command_signal(args):
    rows = []
    for share in (0.01, 0.05, 0.2):
        factors = signal(share)
        rows.append([f"{share:g}"] + [f"{f:.3f} ({1 / f ** 2:.2f})" for f in factors] +
                    [f"{steering(share, args.population // 2, m):.2g}" for m in (1, 65, 1000)])
    return table(["share", "missing (fitness 0)", "random", "reversed"] +
                 [f"steering, tasks of {m}" for m in (1, 65, 1000)], rows)


# --- steps: the simulation ---------------------------------------------------------------------------------

class Swarm:
    """Workers for one step: speed in multiply-adds/s, round trip in s, and when they vanish."""

    def __init__(self, args, step):
        self.args = args
        # The same workers for every policy, so that lines of a table compare.
        rng = random.Random(f"workers {args.seed} {args.workers} {step}")
        self.speed = [args.speed * rng.lognormvariate(0, args.spread) for _ in range(args.workers)]
        self.trip = [args.latency * rng.lognormvariate(0, 0.5) for _ in range(args.workers)]
        self.rng = random.Random(f"tasks {args.seed} {args.workers} {step}")
        self.total = sum(self.speed)

    def phase(self, work, tasks, policy, ready=None):
        """Evaluates `tasks` equal tasks that sum to `work` multiply-adds; (seconds, share of tasks done, task
        evaluations handed out over tasks). Worker w asks from ready[w] on."""
        args, rng = self.args, self.rng
        count = len(self.speed)
        ready = ready or [0.0] * count
        task_work = work / tasks
        copies = 2 if policy == "twice" else 1
        need = math.ceil(0.95 * tasks) if policy == "95%" else tasks
        patience = 4 * task_work / args.speed + 4 * args.latency
        span = max(ready) + work / self.total
        gone = [rng.random() * span if rng.random() < args.loss else math.inf for _ in range(count)]
        waiting = deque(task for task in range(tasks) for _ in range(copies))
        outstanding = deque()  # in order of handing out, for backups
        takers = [[] for _ in range(tasks)]
        answers = [0] * tasks
        done = handed = 0
        free = list(ready)
        idle = deque()
        server = 0.0
        events = [(ready[w] + self.trip[w] / 2, w, 0, w, -1) for w in range(count)]  # time, order, kind, who, task
        heapq.heapify(events)
        order = count

        def pick(worker):
            for _ in range(min(len(waiting), 2 * copies)):
                task = waiting.popleft()
                if answers[task] >= copies:
                    continue
                if worker not in takers[task]:
                    return task
                waiting.append(task)
            own = []
            found = -1
            while policy == "backup" and outstanding and found < 0:
                task = outstanding.popleft()
                if worker in takers[task]:
                    own.append(task)
                elif not answers[task]:
                    found = task
            outstanding.extendleft(reversed(own))
            return found

        while events:
            now, _, kind, worker, task = heapq.heappop(events)
            if kind == 2:  # a task's time is up
                if answers[task] < copies:
                    waiting.append(task)
                    if idle:
                        order += 1
                        heapq.heappush(events, (now, order, 0, idle.popleft(), -1))
                continue
            server = now = max(now, server + 1 / args.messages)
            if kind == 1:  # an answer
                answers[task] += 1
                if answers[task] == copies:
                    done += 1
                    if done == need:
                        return now, done / tasks, handed / tasks
                continue
            task = pick(worker)
            if task < 0:
                idle.append(worker)
                continue
            handed += 1
            half = self.trip[worker] / 2
            slow = args.slowdown if rng.random() < args.stragglers else 1.0
            start = max(free[worker], now + half)
            free[worker] = start + slow * task_work / self.speed[worker]
            takers[task].append(worker)
            if len(takers[task]) == copies:
                outstanding.append(task)
            order += 3
            if free[worker] < gone[worker]:
                heapq.heappush(events, (free[worker] + half, order, 1, worker, task))
                heapq.heappush(events, (max(start + half, free[worker] - half), order + 1, 0, worker, -1))
            heapq.heappush(events, (now + patience, order + 2, 2, worker, task))
        return math.inf, done / tasks, handed / tasks  # everybody is gone

    def spread_out(self, size):
        """Seconds until every worker has `size` bytes that one place sends out."""
        args = self.args
        return args.latency / 2 + size / args.bandwidth + size * len(self.speed) / args.egress


def simulate(args, workers, policy, update, **changes):
    """(mean step time, longest, efficiency, share of pairs counted, evaluations over tasks). Efficiency is the
    time that evaluation and one update would take shared out perfectly, over the mean step time."""
    args = argparse.Namespace(**{**vars(args), "workers": workers, **changes})
    weights, pairs = egg_weights(args.dim, args.layers), args.population // 2
    evaluation = 2.0 * pairs * args.tokens * weights
    votes = float(pairs) * weights * args.vote_cost
    plan = traffic(args.population, workers, weights, args.moved, 0, args.tasks)
    times, ideals, counted, handed = [], [], [], []
    for step in range(max(args.steps, 2000 // workers)):  # few workers: more steps, as luck weighs more
        swarm = Swarm(args, step)
        before, ready = swarm.spread_out(plan["record"]), None
        if update == "every":
            ready = [votes / speed for speed in swarm.speed]
        elif update == "core":  # trusted machines, as fast as args.core median workers; nobody else needs the record
            before = votes / (args.core * args.speed) + swarm.spread_out(plan["diff"])
        else:  # blocks: each voted on by two, all needed; then the diff goes up once and out to all
            blocks, _, _ = swarm.phase(2 * votes, min(4 * workers, weights // 64), "backup")
            before += blocks + plan["diff"] / args.bandwidth / workers + swarm.spread_out(plan["diff"])
        seconds, share, evaluations = swarm.phase(evaluation, plan["tasks"], policy, ready)
        times.append(before + seconds)
        ideals.append((evaluation + votes) / swarm.total)
        counted.append(share)
        handed.append(evaluations)
    mean = statistics.mean(times)
    return mean, max(times), statistics.mean(ideals) / mean, statistics.mean(counted), statistics.mean(handed)


def command_steps(args):
    def cell(result):
        return (f"{result[0]:.0f}" if result[0] >= 100 else f"{result[0]:.3g}") + f" ({result[2]:.2f})"

    parts = []
    if "workers" in args.show:
        plans = [("backup", "every"), ("backup", "blocks")] + [(p, "core") for p in POLICIES]
        rows = []
        cases = [(str(workers), workers, {}) for workers in args.workers]
        if "large" in args.show:
            cases.append(("10000, population 10^8, core 1000", 10000,
                          {"population": 10 ** 8, "core": 1000.0, "steps": 1}))
        for name, workers, changes in cases:
            results = [simulate(args, workers, *plan, **changes) for plan in plans]
            again = results[plans.index(("backup", "core"))][4]
            rows.append([name] + [cell(result) for result in results] + [f"{again:.2f}"])
        parts.append(table(["workers"] + [f"{update}, {policy}" for policy, update in plans] +
                           ["evaluations a task: core, backup"], rows))
    if "network" in args.show:
        cases = [{"latency": 0.2}, {"latency": 1.0}, {"stragglers": 0.05}, {"loss": 0.1}, {"messages": 1e3},
                 {"tasks": 32}]
        rows = []
        for case in cases:
            name = ", ".join(f"{k} {v:g}" for k, v in case.items())
            rows.append([name] + [cell(simulate(args, args.middle, p, "core", **case)) for p in POLICIES])
        parts.append(table([f"{args.middle} workers"] + [f"core, {p}" for p in POLICIES], rows))
    return "\n\n".join(parts)


def parser():
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = result.add_subparsers(dest="command", required=True)

    def command(name, run, help_text, **defaults):
        sub = commands.add_parser(name, help=help_text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        sub.set_defaults(run=run)
        for flag, (default, text) in defaults.items():
            many = isinstance(default, list)
            kind = type(default[0] if many else default)
            sub.add_argument("--" + flag.replace("_", "-"), type=kind, default=default, nargs="+" if many else None,
                             help=text)
        return sub

    model = {"dim": (256, "width D of the egg model"), "layers": (6, "its layers L")}
    command("update", command_update, "cost of rebuilding the weights", **model,
            tokens=([100, 1000], "tokens a member reads per step"), workers=([100, 1000, 10000], "R"),
            rank=(1, "of the noise"), vote_cost=(1.0, "time of a multiply-add in the update, over evaluation's"))
    command("traffic", command_traffic, "bytes per step", **model, workers=(1000, "R"),
            population=([10**4, 10**6, 10**8], "members"), moved=(0.1, "share of the weights that move"))
    command("audit", command_audit, "what an auditor finds and costs", workers=(1000, "R"),
            population=(10**6, "members"))
    command("signal", command_signal, "what missing and wrong pairs do to the votes",
            population=(10**6, "members"))
    command("steps", command_steps, "simulated step time", **model, seed=(1, "of the simulation"),
            show=(["workers", "large", "network"], "which tables"), steps=(5, "simulated steps per line"),
            workers=([10, 100, 1000, 10000], "worker counts"), middle=(1000, "workers of the network table"),
            population=(10**6, "members"), tokens=(100, "T"), moved=(0.1, "share of the weights that move"),
            speed=(1e11, "multiply-adds/s of the median worker"),
            spread=(0.5, "of the workers' speeds: deviation of their logarithm"),
            latency=(0.05, "median round trip, s"), bandwidth=(1e7, "bytes/s to a worker"),
            egress=(1.25e9, "bytes/s out of the coordinator and its relays"),
            messages=(1e5, "messages/s the coordinator takes"), tasks=(8, "tasks per worker and step"),
            stragglers=(0.01, "share of the tasks that take longer"), slowdown=(10.0, "how many times longer"),
            loss=(0.01, "share of the workers that vanish in a phase"), core=(100.0, "median workers in the core"),
            vote_cost=(1.0, "time of a multiply-add in the update, over evaluation's"))
    return result


def main(arguments=None):
    args = parser().parse_args(arguments)
    return args.run(args)


if __name__ == "__main__":
    print(main())
