#include "backend/cpu/cpu.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "backend/cpu/isa_list.h"
#include "backend/cpu/loaded.h"
#include "backend/cpu/tile.h"
#include "backend/cpu/tiles.h"
#include "backend/cpu/update.h"
#include "backend/host_states.h"
#include "base/thread_pool.h"

namespace clutch {
namespace cpu {
namespace {

// Members of a tile: enough rows for the products between states, where there are any, half as many in the
// last pieces; more where rows are narrow, so that calls are few.
constexpr std::uint32_t kLeastMembers = 16, kMostMembers = 48, kLeastPiecePairs = 4;
// A chunk's slots stay in a core's second-level cache, beside the weights in use. A panel of weights is read
// once per chunk: with 24 tokens of 16 members that costs little even from the third-level cache. Where
// nothing goes token by token, few members with long chunks are better: attention packs its keys and values,
// and rows share a member's noise, chunk by chunk, and what one instruction writes is near for the next.
constexpr std::int64_t kTileBytes = 3 << 19, kGoodChunk = 24;
constexpr std::int64_t kLoopFreeTileBytes = 1 << 19, kLongChunk = 64;
// Rows that are kept for tokens which come again; see TileShape. Of English bytes, 9 of 12 are distinct, 14
// of 24, 23 of 64, 37 of 256.
constexpr std::int64_t kKeptBytes = 4 << 20;

constexpr std::int64_t tile_bytes(const Schedule& schedule) {
  return schedule.loops ? kTileBytes : kLoopFreeTileBytes;
}

// Of a chunk where `fit` tokens about fill a tile: of those up to a quarter off, in fours, since norms and sums of
// rows go by four, the one that cuts `length` into the fewest blocks of `rows` rows; of these the nearest to `fit`.
std::uint32_t chunk_tokens(std::int64_t fit, std::uint32_t length, int rows) {
  fit = std::max<std::int64_t>(fit, 1);
  if (3 * fit / 4 >= length) return length;
  const auto blocks = [rows](std::int64_t tokens) { return (tokens + rows - 1) / rows; };
  std::int64_t best = 0, fewest = 0;
  for (std::int64_t tokens = std::max<std::int64_t>(3 * fit / 4, 1); tokens <= 5 * fit / 4; ++tokens) {
    const std::int64_t chunk = std::min<std::int64_t>(tokens, length);
    if (chunk > 4 && chunk % 4 != 0 && chunk < length) continue;
    const std::int64_t count = length / chunk * blocks(chunk) + blocks(length % chunk);
    const bool nearer = std::abs(chunk - fit) < std::abs(best - fit);
    if (best == 0 || count < fewest || (count == fewest && nearer)) best = chunk, fewest = count;
  }
  return static_cast<std::uint32_t>(best);
}

class CpuBackend : public Backend {
 public:
  CpuBackend(const Kernels& kernels, const Threads& threads) : kernels_(kernels), pool_(threads) {}

  std::string name() const override { return std::string("cpu:") + kernels_.name; }

  // docs/BENCHMARKS.md has the exact formula. No term grows with population times parameters.
  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    constexpr std::int64_t kLeastTileBytes = 2 << 20, kTile = 64;  // of slots, and members, at most
    std::int64_t packed = 0, largest = 0, pair_noise = 0, row = 0;
    for (const TensorSpec& tensor : program.tensors) {
      const std::int64_t size = padded(tensor.rows) * (tensor.cols == 1 ? 1 : padded(tensor.cols));
      packed += 2 * size;  // up to two bytes a weight
      largest = std::max(largest, size);
      pair_noise += workload.noise.rank * (padded(tensor.rows) + padded(tensor.cols));
    }
    for (const Slot& slot : program.slots) row += padded(slot.width);
    const std::int64_t tile = std::max(kLeastTileBytes, kTile * row) + kTile * pair_noise;
    const std::int64_t tile_states = workload.carries ? 0 : kTile * program.state_width();
    const std::int64_t kept =
        std::min(kKeptBytes, kTile * std::min(std::int64_t{workload.length}, program.vocab) *
                                 make_schedule(program, Shortcuts::kAll).kept_bytes);
    MemoryPlan plan{"", 0, host_parts(program, workload)};
    plan.parts.push_back({"weights", packed});
    // Tiles and noise of each thread, votes of the largest tensor.
    plan.parts.push_back({"work", pool_.threads() * (tile + tile_states + kept) + 4 * largest});
    return std::vector<MemoryPlan>{plan};
  }

  Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
              const RuleMemory& memory) override {
    auto bounds = verify(program, noise);
    if (!bounds.ok()) return bounds.status();
    evaluators_.clear();
    model_.emplace(program, noise, std::move(bounds).value(), weights, kernels_);
    model_->rule = memory.rule;
    model_->rule_state = whole_rule_state(program, memory);
    return {};
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    return std::unique_ptr<States>(std::make_unique<HostStates>(members, model_->program.state_width()));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    const Schedule& schedule = model_->schedule;
    const std::uint32_t least = schedule.loops ? kLeastMembers : 2;
    const std::int64_t tokens = schedule.loops ? kGoodChunk : kLongChunk;
    const std::int64_t fit = tile_bytes(schedule) / (schedule.row_bytes * tokens);
    const auto members = static_cast<std::uint32_t>(std::clamp<std::int64_t>(fit, least, kMostMembers));
    const Tiles tiles((request.members() + 1) / 2, static_cast<std::uint32_t>(pool_.threads()), members,
                      schedule.loops ? kLeastPiecePairs : 1);
    prepare(tile_shape(schedule, std::min(request.members(), tiles.most_members()), request.length));
    const std::int64_t width = model_->program.state_width();
    std::int8_t* states =
        request.states == nullptr ? nullptr : static_cast<HostStates&>(*request.states).values.data();
    pool_.run(static_cast<int>(tiles.count()), [&](int tile, int thread) {
      const std::uint32_t begin = 2 * tiles.first_pair(tile), end = 2 * tiles.first_pair(tile + 1);
      const std::uint32_t count = std::min(end, request.members()) - begin;
      evaluators_[thread].run(request, result, begin, count,
                              states == nullptr ? nullptr : states + begin * width);
    });
    return {};
  }

  Result<UpdateResult> update(const UpdateRequest& request) override {
    return cpu::update(*model_, request, pool_);
  }

  Status read_weights(Weights& out, RuleState* state) const override {
    out = model_->weights;
    if (state != nullptr) *state = model_->rule_state;
    return {};
  }

  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    const Program& program = model_->program;
    const std::uint32_t unit = request.noise ? 2 : 1, first = member / unit * unit;
    std::vector<std::int8_t> copy(unit * program.state_width());
    if (request.states != nullptr) {
      const auto& states = static_cast<HostStates&>(*request.states).values;
      std::copy_n(states.begin() + first * program.state_width(), copy.size(), copy.begin());
    }
    TraceBuffer buffer;
    for (const Instruction& instruction : program.instructions) {
      buffer.emplace_back(program.slots[instruction.dst].width * request.length);
    }
    std::vector<std::int64_t> losses(request.members());
    const Schedule schedule = make_schedule(program, Shortcuts::kNone);  // writes every slot
    TileEvaluator evaluator(*model_, schedule, tile_shape(schedule, unit, request.length));
    evaluator.run(request, {.losses = losses, .logits = {}}, first, unit, copy.data(), &buffer,
                  member - first);
    for (std::uint32_t t = 0; t < request.length; ++t) {
      for (std::uint32_t i = 0; i < buffer.size(); ++i) {
        const std::int64_t width = program.slots[program.instructions[i].dst].width;
        sink(t, i, std::span<const std::int8_t>(buffer[i].data() + t * width, width));
      }
    }
    return {};
  }

 private:
  // Stretches of as many chunks as kKeptBytes hold rows for.
  TileShape tile_shape(const Schedule& schedule, std::uint32_t members, std::uint32_t length) const {
    const std::uint32_t chunk =
        chunk_tokens(tile_bytes(schedule) / (schedule.row_bytes * members), length, kernels_.rows);
    const std::int64_t kept = kKeptBytes / (std::max<std::int64_t>(schedule.kept_bytes, 1) * members * chunk);
    const std::uint32_t chunks = (length + chunk - 1) / chunk;
    return {members, chunk, chunk * static_cast<std::uint32_t>(std::clamp<std::int64_t>(kept, 1, chunks))};
  }

  // Evaluators, one per thread, that fit the shape; kept from call to call.
  void prepare(const TileShape& shape) {
    if (!evaluators_.empty() && shape_ == shape) return;
    evaluators_.clear();
    for (int t = 0; t < pool_.threads(); ++t) evaluators_.emplace_back(*model_, model_->schedule, shape);
    shape_ = shape;
  }

  const Kernels& kernels_;
  ThreadPool pool_;
  std::optional<LoadedModel> model_;
  std::vector<TileEvaluator> evaluators_;
  TileShape shape_;
};

}  // namespace
}  // namespace cpu

Result<std::unique_ptr<Backend>> make_cpu_backend(const std::string& isa, const Threads& threads) {
  auto found = cpu::find_kernels(isa);
  if (!found.ok()) return found.status();
  return make_cpu_backend(*found.value(), threads);
}

std::unique_ptr<Backend> make_cpu_backend(const cpu::Kernels& kernels, const Threads& threads) {
  return std::make_unique<cpu::CpuBackend>(kernels, threads);
}

}  // namespace clutch
