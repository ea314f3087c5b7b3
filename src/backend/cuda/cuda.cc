#include "backend/cuda/cuda.h"

#include <algorithm>
#include <optional>

#include "backend/cuda/memory.h"
#include "backend/cuda/plan.h"
#include "exact/noise.h"
#include "exact/tables.h"

namespace clutch {
namespace cuda {
namespace {

// A program with its weights and the rule's memory, on the device. Buffers of a request grow as needed and
// stay.
struct Loaded {
  explicit Loaded(const std::shared_ptr<Memory>& m)
      : weights(m, "weights"),
        votes(m, "votes"),
        tables(m, "tables"),
        noise(m, "noise of the tiles"),
        window_states(m, "states of the tiles"),
        text(m, "text"),
        stream_of(m, "text"),
        losses(m, "losses"),
        logits(m, "logits"),
        trace(m, "trace"),
        fitness(m, "fitness"),
        results(m, "results"),
        steps(m, "program"),
        tensors(m, "program"),
        moves(m, "program"),
        first_move(m, "program"),
        elements(m, "program"),
        narrow(m, "program"),
        wide(m, "program"),
        vectors(m, "program"),
        words(m, "program") {
    for (std::size_t i = 0; i < exact::kMaxRuleStates; ++i)
      rule_state.push_back(std::make_unique<Buffer>(m, "rule"));
  }
  const Program* program = nullptr;
  Plan plan;
  exact::Rule rule{};
  Model model{};
  Buffer weights, votes, tables, noise, window_states, text, stream_of, losses, logits, trace, fitness,
      results;
  Buffer steps, tensors, moves, first_move, elements, narrow, wide, vectors, words;
  std::vector<std::unique_ptr<Buffer>> rule_state;
};

class DeviceStates : public States {
 public:
  DeviceStates(std::shared_ptr<Memory> m, const Program& program, const Plan& plan, std::uint32_t count)
      : buffer(m, "states"),
        members(count),
        memory_(std::move(m)),
        width_(static_cast<std::uint64_t>(program.state_width())),
        pitch_(plan.state_bytes),
        runs_(plan.state_runs) {}

  Status make() {
    CLUTCH_RETURN_IF_ERROR(buffer.ensure(members * pitch_));
    return memory_->device().clear(buffer.as<void>(), std::max<std::uint64_t>(1, members * pitch_));
  }
  Status read(std::span<std::int8_t> out) const override {
    check_equal(out.size(), members * width_, "states to read");
    std::vector<std::int8_t> all(members * pitch_);
    CLUTCH_RETURN_IF_ERROR(memory_->device().download(all.data(), buffer.as<void>(), all.size()));
    for (std::uint32_t m = 0; m < members; ++m) {
      for (const StateRun& run : runs_)
        std::copy_n(all.data() + m * pitch_ + run.device, run.bytes, out.data() + m * width_ + run.host);
    }
    return {};
  }
  Status write(std::span<const std::int8_t> in) override {
    check_equal(in.size(), members * width_, "states to write");
    std::vector<std::int8_t> all(members * pitch_);
    for (std::uint32_t m = 0; m < members; ++m) {
      for (const StateRun& run : runs_)
        std::copy_n(in.data() + m * width_ + run.host, run.bytes, all.data() + m * pitch_ + run.device);
    }
    return memory_->device().upload(buffer.as<void>(), all.data(), all.size());
  }

  Buffer buffer;
  const std::uint32_t members;

 private:
  const std::shared_ptr<Memory> memory_;
  const std::uint64_t width_, pitch_;
  const std::vector<StateRun> runs_;
};

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(std::unique_ptr<Device> device)
      : memory_(std::make_shared<Memory>(std::move(device))) {}

  std::string name() const override { return device().facts().name; }

  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    CLUTCH_RETURN_IF_ERROR(fits(program, workload.noise, device().facts()));
    auto bounds = verify(program, workload.noise);
    if (!bounds.ok()) return bounds.status();
    const Plan plan = make_plan(program, workload.noise, bounds.value());
    const TileShape tile = choose_tile(plan.layout, workload.noise.rank, device().facts(), workload.members);
    auto blocks = blocks_of(tile, workload.members);
    if (!blocks.ok()) return blocks.status();
    return std::vector<MemoryPlan>{{name(), static_cast<std::int64_t>(device().free_bytes()),
                                    memory_parts(plan, workload, tile, blocks.value())}};
  }

  Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
              const RuleMemory& memory) override {
    auto bounds = verify(program, noise);
    if (!bounds.ok()) return bounds.status();
    CLUTCH_RETURN_IF_ERROR(fits(program, noise, device().facts()));
    l_.emplace(memory_);
    l_->program = &program;
    l_->rule = memory.rule;
    l_->plan = make_plan(program, noise, bounds.value());
    CLUTCH_RETURN_IF_ERROR(upload_program(noise));
    CLUTCH_RETURN_IF_ERROR(l_->weights.assign(flatten(l_->plan.layout, weights)));
    CLUTCH_RETURN_IF_ERROR(l_->votes.ensure(4 * l_->plan.element_count));
    l_->model.weights = l_->weights.as<std::int8_t>();
    return upload_rule_state(whole_rule_state(program, memory));
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    auto states = std::make_unique<DeviceStates>(memory_, *l_->program, l_->plan, members);
    CLUTCH_RETURN_IF_ERROR(states->make());
    return std::unique_ptr<States>(std::move(states));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    auto* states = static_cast<DeviceStates*>(request.states);
    CLUTCH_RETURN_IF_ERROR(run(request, states == nullptr ? nullptr : states->buffer.as<std::int8_t>(),
                               !result.logits.empty(), {}));
    CLUTCH_RETURN_IF_ERROR(
        device().download(result.losses.data(), l_->losses.as<void>(), result.losses.size_bytes()));
    if (result.logits.empty()) return {};
    return device().download(result.logits.data(), l_->logits.as<void>(), result.logits.size());
  }

  Result<UpdateResult> update(const UpdateRequest& request) override {
    check(request.matrix.rule == l_->rule && request.vector.rule == l_->rule,
          "the update is of the rule loaded");
    const auto pairs = static_cast<std::uint32_t>(request.fitness.size());
    int largest = 0;
    for (const std::int8_t f : request.fitness) largest = std::max(largest, f < 0 ? -f : int{f});
    CLUTCH_RETURN_IF_ERROR(l_->fitness.assign(request.fitness));
    CLUTCH_RETURN_IF_ERROR(device().clear(l_->votes.as<void>(), 4 * l_->plan.element_count));
    CLUTCH_RETURN_IF_ERROR(device().clear(l_->results.as<void>(), sizeof(UpdateResults)));
    const bool wide = largest * exact::kNoiseMax > exact::kClip;
    const std::vector<VoteTile>& tiles = wide ? l_->plan.wide : l_->plan.narrow;
    UpdateArguments a{.model = l_->model,
                      .seed = {request.noise.seed, request.noise.epoch, 0},
                      .fitness = l_->fitness.as<std::int8_t>(),
                      .pairs = pairs,
                      .wide = wide,
                      .matrices = (wide ? l_->wide : l_->narrow).as<VoteTile>(),
                      .vectors = l_->vectors.as<VoteTile>(),
                      .words = l_->words.as<WordRange>(),
                      .matrix_count = static_cast<std::uint32_t>(tiles.size()),
                      .vector_count = static_cast<std::uint32_t>(l_->plan.vectors.size()),
                      .word_count = static_cast<std::uint32_t>(l_->plan.words.size()),
                      .matrix_splits = splits(tiles.size(), pairs * l_->model.rank, kVoteTerms),
                      .vector_splits = splits(l_->plan.vectors.size(), pairs, kPairsOfBlock),
                      .elements = l_->elements.as<std::uint64_t>(),
                      .votes = l_->votes.as<std::uint32_t>(),
                      .states = {},
                      .state_count = static_cast<std::uint32_t>(exact::entry(l_->rule).state_count()),
                      .matrix = request.matrix,
                      .vector = request.vector,
                      .results = l_->results.as<UpdateResults>()};
    for (std::size_t i = 0; i < l_->rule_state.size(); ++i)
      a.states[i] = l_->rule_state[i]->as<std::int32_t>();
    CLUTCH_RETURN_IF_ERROR(device().update(a));
    UpdateResults results{};
    CLUTCH_RETURN_IF_ERROR(device().download(&results, l_->results.as<void>(), sizeof results));
    return UpdateResult{results.moved, results.digest};
  }

  Status read_weights(Weights& out, RuleState* state) const override {
    std::vector<std::int8_t> flat(l_->plan.layout.weight_bytes);
    CLUTCH_RETURN_IF_ERROR(device().download(flat.data(), l_->weights.as<void>(), flat.size()));
    out = unflatten(l_->plan.layout, flat);
    if (state == nullptr) return {};
    *state = whole_rule_state(*l_->program, {l_->rule, {}});
    for (std::size_t k = 0; k < state->size(); ++k) {
      for (std::size_t t = 0; t < (*state)[k].size(); ++t) {
        auto& words = (*state)[k][t];
        CLUTCH_RETURN_IF_ERROR(device().download(
            words.data(), l_->rule_state[k]->as<std::int32_t>() + l_->plan.elements[t], 4 * words.size()));
      }
    }
    return {};
  }

  // The member's pair, or the member where there is no noise, on a copy of its states.
  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    const std::uint32_t first = request.noise ? member / 2 * 2 : member;
    const std::uint32_t count = std::min(request.noise ? 2u : 1u, request.members() - first);
    EvaluateRequest part = request;
    if (part.noise) part.noise->first_pair += first / 2;
    part.stream_of = request.stream_of.subspan(first, count);
    const std::uint64_t pitch = l_->plan.state_bytes;
    Buffer copy(memory_, "states");
    std::vector<std::int8_t> states(count * pitch);
    if (request.states != nullptr) {
      const auto* from = static_cast<DeviceStates*>(request.states)->buffer.as<std::int8_t>() + first * pitch;
      CLUTCH_RETURN_IF_ERROR(device().download(states.data(), from, states.size()));
    }
    CLUTCH_RETURN_IF_ERROR(copy.assign(states));
    CLUTCH_RETURN_IF_ERROR(run(part, copy.as<std::int8_t>(), false, member - first));
    std::vector<std::int8_t> values(std::uint64_t{request.length} * l_->plan.trace_bytes);
    CLUTCH_RETURN_IF_ERROR(device().download(values.data(), l_->trace.as<void>(), values.size()));
    for (std::uint32_t t = 0; t < request.length; ++t) {
      for (std::uint32_t i = 0; i < l_->plan.steps.size(); ++i) {
        const Step& step = l_->plan.steps[i];
        sink(t, i, {values.data() + std::uint64_t{t} * l_->plan.trace_bytes + step.trace, step.width});
      }
    }
    return {};
  }

 private:
  static constexpr std::uint32_t kPairsOfBlock = 256;
  static constexpr std::uint32_t kBlocksOfProcessor =
      4;  // of votes, so that none waits long for the last ones

  Device& device() const { return memory_->device(); }

  // Blocks that share the terms of each of `count` tiles.
  std::uint32_t splits(std::size_t count, std::uint32_t terms, std::uint32_t least) const {
    if (count == 0) return 1;
    const std::uint64_t wanted = (kBlocksOfProcessor * device().facts().processors + count - 1) / count;
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(wanted, 1, (terms + least - 1) / least));
  }

  Status upload_program(const NoiseShape& noise) {
    const Plan& plan = l_->plan;
    CLUTCH_RETURN_IF_ERROR(l_->steps.assign(plan.steps));
    CLUTCH_RETURN_IF_ERROR(l_->tensors.assign(plan.layout.tensors));
    CLUTCH_RETURN_IF_ERROR(l_->moves.assign(plan.moves));
    CLUTCH_RETURN_IF_ERROR(l_->first_move.assign(plan.first_move));
    CLUTCH_RETURN_IF_ERROR(l_->elements.assign(plan.elements));
    CLUTCH_RETURN_IF_ERROR(l_->narrow.assign(plan.narrow));
    CLUTCH_RETURN_IF_ERROR(l_->wide.assign(plan.wide));
    CLUTCH_RETURN_IF_ERROR(l_->vectors.assign(plan.vectors));
    CLUTCH_RETURN_IF_ERROR(l_->words.assign(plan.words));
    CLUTCH_RETURN_IF_ERROR(l_->results.ensure(sizeof(UpdateResults)));
    l_->model = {.steps = l_->steps.as<Step>(),
                 .tensors = l_->tensors.as<device::FlatTensor>(),
                 .moves = l_->moves.as<Move>(),
                 .first_move = l_->first_move.as<std::uint32_t>(),
                 .step_count = static_cast<std::uint32_t>(plan.steps.size()),
                 .tensor_count = static_cast<std::uint32_t>(plan.layout.tensors.size()),
                 .output = plan.layout.output,
                 .vocab = plan.layout.vocab,
                 .window = plan.layout.window,
                 .count = plan.count,
                 .state_bytes = static_cast<std::uint32_t>(plan.state_bytes),
                 .trace_bytes = plan.trace_bytes,
                 .rank = static_cast<std::uint32_t>(noise.rank),
                 .noise_shift = static_cast<std::uint32_t>(kNoiseFractionBits + noise.sigma_shift),
                 .noise_bytes = plan.layout.noise_bytes,
                 .weights = nullptr,
                 .tables = {}};
    return upload_tables();
  }

  // One after the other in one buffer, those of words first.
  Status upload_tables() {
    std::vector<std::int8_t> bytes;
    const auto put = [&](const void* table, std::size_t size) {
      const std::size_t at = bytes.size();
      bytes.insert(bytes.end(), static_cast<const std::int8_t*>(table),
                   static_cast<const std::int8_t*>(table) + size);
      return at;
    };
    const std::size_t exp2 = put(exact::kExp2Table, sizeof exact::kExp2Table);
    const std::size_t log2 = put(exact::kLog2Table, sizeof exact::kLog2Table);
    const std::size_t softmax = put(exact::kSoftmaxTable, sizeof exact::kSoftmaxTable);
    const std::size_t turns = bytes.size();
    for (std::int64_t p = 0; p < l_->program->window; ++p)
      put(exact::turns_of(p).data(), exact::turns_of(p).size_bytes());
    const std::size_t gelu = put(exact::kGeluTable, sizeof exact::kGeluTable);
    CLUTCH_RETURN_IF_ERROR(l_->tables.assign(bytes));
    const auto* base = l_->tables.as<std::int8_t>();
    l_->model.tables = {.exp2 = reinterpret_cast<const std::uint32_t*>(base + exp2),
                        .log2 = reinterpret_cast<const std::uint32_t*>(base + log2),
                        .softmax = reinterpret_cast<const std::uint32_t*>(base + softmax),
                        .gelu = base + gelu,
                        .turns = reinterpret_cast<const exact::Turn*>(base + turns)};
    return {};
  }

  Status upload_rule_state(const RuleState& state) {
    for (std::size_t k = 0; k < state.size(); ++k) {
      CLUTCH_RETURN_IF_ERROR(l_->rule_state[k]->ensure(4 * l_->plan.element_count));
      for (std::size_t t = 0; t < state[k].size(); ++t) {
        CLUTCH_RETURN_IF_ERROR(device().upload(l_->rule_state[k]->as<std::int32_t>() + l_->plan.elements[t],
                                               state[k][t].data(), 4 * state[k][t].size()));
      }
    }
    return {};
  }

  // That run at the same time, of as many as members need.
  Result<std::uint32_t> blocks_of(const TileShape& tile, std::uint32_t members) const {
    auto resident = device().resident_blocks(tile);
    if (!resident.ok()) return resident.status();
    return std::min(resident.value(), (members + tile.members - 1) / tile.members);
  }

  Status run(const EvaluateRequest& request, std::int8_t* states, bool logits,
             std::optional<std::uint32_t> traced) {
    const std::uint32_t members = request.members();
    const TileShape tile =
        choose_tile(l_->plan.layout, static_cast<int>(l_->model.rank), device().facts(), members);
    auto found = blocks_of(tile, members);
    if (!found.ok()) return found.status();
    const std::uint32_t blocks = found.value();
    CLUTCH_RETURN_IF_ERROR(l_->text.assign(request.text));
    CLUTCH_RETURN_IF_ERROR(l_->stream_of.assign(request.stream_of));
    CLUTCH_RETURN_IF_ERROR(l_->losses.ensure(8ull * members));
    if (request.noise)
      CLUTCH_RETURN_IF_ERROR(
          l_->noise.ensure(std::uint64_t{blocks} * (tile.members / 2) * l_->model.noise_bytes));
    if (states == nullptr)
      CLUTCH_RETURN_IF_ERROR(
          l_->window_states.ensure(std::uint64_t{blocks} * tile.members * l_->model.state_bytes));
    if (logits)
      CLUTCH_RETURN_IF_ERROR(l_->logits.ensure(std::uint64_t{members} * request.length * l_->model.vocab));
    if (traced)
      CLUTCH_RETURN_IF_ERROR(l_->trace.ensure(std::uint64_t{request.length} * l_->model.trace_bytes));
    const NoiseSource noise = request.noise.value_or(NoiseSource{});
    return device().evaluate({.model = l_->model,
                              .tile = tile,
                              .seed = {noise.seed, noise.epoch, noise.first_pair},
                              .noisy = request.noise.has_value(),
                              .members = members,
                              .length = request.length,
                              .text = l_->text.as<std::uint16_t>(),
                              .stream_of = l_->stream_of.as<std::uint32_t>(),
                              .states = states == nullptr ? l_->window_states.as<std::int8_t>() : states,
                              .keeps_states = states != nullptr,
                              .noise = l_->noise.as<std::int8_t>(),
                              .losses = l_->losses.as<std::int64_t>(),
                              .logits = logits ? l_->logits.as<std::int8_t>() : nullptr,
                              .trace = traced ? l_->trace.as<std::int8_t>() : nullptr,
                              .traced = traced.value_or(0)},
                             blocks);
  }

  const std::shared_ptr<Memory> memory_;
  std::optional<Loaded> l_;
};

}  // namespace
}  // namespace cuda

std::vector<const cuda::Vendor*> cuda_vendors() { return {&cuda::nvidia::vendor(), &cuda::amd::vendor()}; }

std::unique_ptr<Backend> make_cuda_backend(std::unique_ptr<cuda::Device> device) {
  return std::make_unique<cuda::CudaBackend>(std::move(device));
}

}  // namespace clutch
