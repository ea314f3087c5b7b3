#include "backend/cuda/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"
#include "exact/noise.h"
#include "exact/tables.h"

namespace clutch::cuda {
namespace {

constexpr std::uint32_t kWordsOfBlock = 2048;  // eight for each of a block's threads

std::uint64_t filled_up(std::uint64_t bytes, std::uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

device::Layout layout_of(const Program& program, const NoiseShape& noise) {
  return device::make_layout(program, noise, kRowAlignment, device::StateMoves::kAsNeeded);
}

// Of u in 0 .. 256 · divisor: with L the bits of divisor - 1 and the multiplier ceil(2^(31+L) / divisor),
// which is too large by less than divisor/divisor, u times that error is below 2^(8+2L), L <= 20.
void set_division(Step& step) {
  const auto bits = static_cast<std::uint32_t>(std::bit_width(step.divisor - 1));
  step.shift = 31 + bits;
  step.multiplier =
      static_cast<std::uint32_t>(((std::uint64_t{1} << step.shift) + step.divisor - 1) / step.divisor);
}

void add_steps(const std::vector<Bounds>& bounds, Plan& plan) {
  for (std::size_t i = 0; i < plan.layout.instructions.size(); ++i) {
    Step step{plan.layout.instructions[i]};
    set_division(step);
    step.narrow = bounds[i].perturbation <= std::numeric_limits<std::int32_t>::max();
    step.trace = plan.trace_bytes;
    plan.trace_bytes += step.width;
    plan.steps.push_back(step);
  }
}

// Each part of a member's states at a multiple of kRowAlignment.
void add_states(const Program& program, Plan& plan) {
  const auto place = [&](std::uint64_t host, std::uint64_t bytes) {
    const std::uint64_t at = plan.state_bytes;
    plan.state_runs.push_back({host, at, bytes});
    plan.state_bytes += filled_up(bytes, kRowAlignment);
    check(plan.state_bytes < device::kNone, "a member's states fit 32 bits");
    return static_cast<std::uint32_t>(at);
  };
  std::vector<std::uint32_t> places;
  for (const device::FlatState& state : plan.layout.states)
    places.push_back(place(state.offset, state.width));
  for (std::uint32_t moment = 0; moment < plan.steps.size() + 2; ++moment) {
    plan.first_move.push_back(static_cast<std::uint32_t>(plan.moves.size()));
    for (std::size_t i = 0; i < places.size(); ++i) {
      const device::FlatState& state = plan.layout.states[i];
      if (state.load == moment) plan.moves.push_back({places[i], state.read, state.width, 0});
      if (state.store == moment) plan.moves.push_back({places[i], state.write, state.width, 1});
    }
  }
  plan.first_move.push_back(static_cast<std::uint32_t>(plan.moves.size()));
  if (program.window > 0) plan.count = place(plan.layout.count, kCountWidth);
  for (Step& step : plan.steps) {
    if (step.keys == device::kNone) continue;
    const auto cache = static_cast<std::uint64_t>(program.window) * step.width;
    step.keys = place(step.keys, cache);
    step.values = place(step.values, cache);
  }
}

void add_update(Plan& plan) {
  for (std::uint32_t i = 0; i < plan.layout.tensors.size(); ++i) {
    const device::FlatTensor& t = plan.layout.tensors[i];
    const std::uint64_t size = std::uint64_t{t.rows} * t.cols;
    plan.elements.push_back(plan.element_count);
    plan.element_count += size;
    for (std::uint32_t n = 0; t.is_vector && n < t.rows; n += exact::kNoisePerBlock)
      plan.vectors.push_back({i, n, 0});
    for (std::uint32_t n = 0; !t.is_vector && n < t.rows; n += kVoteTile / 2) {
      for (std::uint32_t k = 0; k < t.cols; k += kVoteTile) {
        plan.wide.push_back({i, n, k});
        if (n % kVoteTile == 0) plan.narrow.push_back({i, n, k});
      }
    }
    const auto words = static_cast<std::uint32_t>((size + 7) / 8);
    for (std::uint32_t first = 0; first < words; first += kWordsOfBlock)
      plan.words.push_back({i, first, std::min(kWordsOfBlock, words - first)});
  }
}

}  // namespace

Status fits(const Program& program, const NoiseShape& noise, const Facts& facts) {
  std::uint64_t weights = 0, factors = 0;
  for (const TensorSpec& t : program.tensors) {
    const bool vector = t.kind == TensorKind::kVector;
    const std::uint64_t rows = filled_up(t.rows, kRowAlignment),
                        row = vector ? rows : filled_up(t.cols, kRowAlignment);
    weights += vector ? row : t.rows * row;
    factors += (vector ? 1 : noise.rank) * (rows + row);
  }
  if (std::max(weights, factors) >= device::kNone) {
    return fail(
        program.name,
        fmt::format(
            "{} bytes of weights or {} of a pair's noise are over 4 GiB, which kernels index with 32 bits",
            weights, factors),
        "use a smaller model or --rank, or --backend cpu");
  }
  const TileShape tile = make_tile(layout_of(program, noise), noise.rank, facts, 1);
  if (tile.bytes > facts.shared_bytes) {
    return fail(program.name,
                fmt::format("a tile of {} members needs {} bytes of shared memory; a block of {} has {}",
                            tile.members, tile.bytes, facts.name, facts.shared_bytes),
                "use a smaller --dim, --vocab or --rank, or --backend cpu");
  }
  return {};
}

Plan make_plan(const Program& program, const NoiseShape& noise, const std::vector<Bounds>& bounds) {
  Plan plan;
  plan.layout = layout_of(program, noise);
  add_steps(bounds, plan);
  add_states(program, plan);
  add_update(plan);
  return plan;
}

TileShape make_tile(const device::Layout& layout, int rank, const Facts& facts, std::uint32_t row_tiles) {
  TileShape tile;
  tile.members = row_tiles * kRowTile;
  // Rows of 16-byte loads fall on different banks where they are 64 bytes apart, modulo 128.
  std::uint64_t at = filled_up(layout.slot_bytes, 128) + 64;
  check(at * tile.members < device::kNone, "a tile fits 32 bits");
  tile.pitch = static_cast<std::uint32_t>(at);
  at *= tile.members;
  const auto take = [&](std::uint64_t bytes) {
    const std::uint64_t from = at;
    at = filled_up(at + bytes, 16);
    return static_cast<std::uint32_t>(from);
  };
  tile.projections = take(std::uint64_t{4} * tile.members * static_cast<std::uint32_t>(rank));
  tile.weights = take(std::uint64_t{4} * (facts.evaluate_threads / facts.warp) * layout.window);
  tile.losses = take(std::uint64_t{8} * tile.members);
  tile.tokens = take(std::uint64_t{4} * tile.members);
  tile.positions = take(std::uint64_t{4} * tile.members);
  tile.bytes = static_cast<std::uint32_t>(at);
  return tile;
}

TileShape choose_tile(const device::Layout& layout, int rank, const Facts& facts, std::uint32_t members) {
  TileShape best;
  std::uint64_t fewest = 0;
  for (const std::uint32_t count : kRowTileCounts) {
    if (count > facts.row_tiles) break;
    const TileShape tile = make_tile(layout, rank, facts, count);
    if (count > 1 && tile.bytes > facts.shared_bytes) break;
    const std::uint64_t at_once = std::uint64_t{tile.members} * facts.processors;
    const std::uint64_t rounds = (members + at_once - 1) / at_once;
    if (count > 1 && rounds >= fewest) continue;
    best = tile;
    fewest = rounds;
  }
  return best;
}

std::vector<MemoryPart> memory_parts(const Plan& plan, const Workload& workload, const TileShape& tile,
                                     std::uint32_t blocks) {
  const auto elements = static_cast<std::int64_t>(plan.element_count);
  const std::int64_t running = std::int64_t{blocks} * tile.members, members = workload.members;
  const std::int64_t text = 2 * std::int64_t{workload.streams} * (std::int64_t{workload.length} + 1);
  const std::int64_t kept = workload.carries ? members : running;
  const auto size = [](const auto& list) { return list.size() * sizeof list[0]; };
  const std::size_t program = size(plan.steps) + size(plan.layout.tensors) + size(plan.moves) +
                              size(plan.first_move) + size(plan.elements) + size(plan.narrow) +
                              size(plan.wide) + size(plan.vectors) + size(plan.words) + sizeof(UpdateResults);
  const std::size_t tables = sizeof exact::kExp2Table + sizeof exact::kLog2Table +
                             sizeof exact::kSoftmaxTable + sizeof exact::kGeluTable +
                             plan.layout.window * exact::kTurnPairs * sizeof(exact::Turn);
  return {{"weights", static_cast<std::int64_t>(plan.layout.weight_bytes)},
          {"votes", 4 * elements},
          {"rule", 4 * elements * exact::entry(workload.rule).state_count()},
          {"states", kept * static_cast<std::int64_t>(plan.state_bytes)},
          {"noise", running / 2 * static_cast<std::int64_t>(plan.layout.noise_bytes)},
          {"text and losses", text + 12 * members + workload.pairs},
          {"program", static_cast<std::int64_t>(program + tables)}};
}

}  // namespace clutch::cuda
