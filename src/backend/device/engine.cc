#include "backend/device/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "backend/device/plan.h"
#include "base/check.h"

namespace clutch::device {
namespace {

constexpr std::uint64_t kTakenBytes = 32ull << 20;  // of logits or traces, brought over at a time
constexpr std::uint32_t kMostGroups = 65535;
// Of a tensor's digest: with the 2^16 tensors that a key can name, 2^24 workgroups in all.
constexpr std::uint32_t kMostDigestGroups = 256;

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span<const T>(values));
}
template <class T>
std::span<const std::byte> push_of(const T& push) {
  static_assert(sizeof(T) <= 128, "every device takes push constants of 128 bytes");
  return std::as_bytes(std::span<const T, 1>(&push, 1));
}

std::uint32_t rounded_up(std::uint64_t items, std::uint32_t each) {
  return static_cast<std::uint32_t>((items + each - 1) / each);
}

// Of a kernel that strides over its items: no more than every device takes.
std::uint32_t groups(std::uint64_t items, std::uint32_t lanes) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>((items + lanes - 1) / lanes, kMostGroups));
}

// What an invocation of `vote` goes through one after the other: four rows of a word of columns, or a
// vector's word.
std::uint64_t items_of(const DeviceTensor& t) {
  const std::uint64_t quads = rounded_up(t.rows, 4);
  return t.is_vector != 0 ? quads : quads * rounded_up(t.cols, 4);
}

// Pairs whose votes a dispatch may add up.
std::uint32_t pairs_at_once(const Plan& plan, const DeviceTensor& t, const Limits& limits) {
  const std::uint64_t lanes = std::uint64_t{groups(items_of(t), plan.lanes)} * plan.lanes;
  return pairs_of_vote(t, (items_of(t) + lanes - 1) / lanes, limits.iterations);
}

// Whether all pairs go into a dispatch per tensor, so that votes need no memory.
bool votes_at_once(const Plan& plan, std::uint32_t pairs, const Limits& limits) {
  return pairs <= plan.batch / 2 && std::all_of(plan.tensors.begin(), plan.tensors.end(), [&](const auto& t) {
           return pairs <= pairs_at_once(plan, t, limits);
         });
}

std::uint32_t whole(std::uint32_t members) { return rounded_up(members, kTile) * kTile; }

// What the buffers below come to in training, but for some of 16 bytes.
std::vector<MemoryPart> memory_parts(const Plan& plan, const Workload& workload, const Limits& limits) {
  const std::int64_t batch = std::min(plan.batch, whole(workload.members)),
                     weights = plan.layout.weight_bytes;
  const std::int64_t pairs = std::max<std::int64_t>(batch / 2, std::min(workload.pairs, plan.batch / 2));
  const std::int64_t text = 2 * std::int64_t{workload.streams} * (std::int64_t{workload.length} + 1);
  const std::size_t program = bytes_of(plan.instructions).size() + bytes_of(plan.tensors).size() +
                              bytes_of(plan.states).size() + bytes_of(make_tables()).size() + 4 * kSumWords;
  return {{"weights", weights},
          {"votes", votes_at_once(plan, workload.pairs, limits) ? 0 : 4 * weights},
          {"rule", 4 * exact::entry(workload.rule).state_count() * weights},
          {"states", std::int64_t{whole(workload.members)} * 4 * plan.state_words},
          {"noise", pairs * 4 * plan.noise_words},
          {"slots", batch * 4 * ((plan.shared_slots ? 0 : plan.slot_words) + plan.scratch_words)},
          {"text and losses", text + 12 * std::int64_t{workload.members} + workload.pairs},
          {"program", static_cast<std::int64_t>(program)}};
}

// Members' states, a buffer per batch.
class DeviceStates : public States {
 public:
  DeviceStates(std::shared_ptr<Gpu> gpu, const Plan& plan, std::uint32_t members)
      : gpu_(std::move(gpu)),
        pieces_(plan.pieces),
        width_(plan.layout.state_bytes),
        member_bytes_(std::uint64_t{4} * plan.state_words),
        batch_(plan.batch),
        members_(members) {}

  // Fails where the device's memory is short.
  Status make() {
    for (std::uint32_t first = 0; first < members_; first += batch_) {
      const std::uint64_t room =
          rounded_up(std::min(batch_, members_ - first), kTile) * kTile * member_bytes_;
      auto made = gpu_->make_buffer(std::max<std::uint64_t>(room, 16));
      if (!made.ok()) return made.status();
      parts.push_back(std::move(made).value());
    }
    return {};
  }
  Status zero() {
    for (const auto& part : parts) CLUTCH_RETURN_IF_ERROR(gpu_->zero(*part));
    return gpu_->submit();
  }
  std::uint32_t members() const { return members_; }

  Status read(std::span<std::int8_t> out) const override {
    check_equal(out.size(), members_ * width_, "states to read");
    if (width_ == 0) return {};
    for (std::size_t part = 0; part < parts.size(); ++part) {
      std::vector<std::byte> bytes(members_of(part) * member_bytes_);
      CLUTCH_RETURN_IF_ERROR(gpu_->download(*parts[part], 0, bytes));
      CLUTCH_RETURN_IF_ERROR(gpu_->submit());
      for_pieces(part, [&](std::uint64_t host, std::uint64_t device, std::uint64_t count) {
        std::memcpy(out.data() + host, bytes.data() + device, count);
      });
    }
    return {};
  }

  Status write(std::span<const std::int8_t> in) override {
    check_equal(in.size(), members_ * width_, "states to write");
    if (width_ == 0) return {};
    for (std::size_t part = 0; part < parts.size(); ++part) {
      std::vector<std::byte> bytes(members_of(part) * member_bytes_);
      for_pieces(part, [&](std::uint64_t host, std::uint64_t device, std::uint64_t count) {
        std::memcpy(bytes.data() + device, in.data() + host, count);
      });
      CLUTCH_RETURN_IF_ERROR(gpu_->upload(*parts[part], 0, bytes));
      CLUTCH_RETURN_IF_ERROR(gpu_->submit());
    }
    return {};
  }

  std::vector<std::unique_ptr<Buffer>> parts;

 private:
  std::uint64_t members_of(std::size_t part) const {
    return std::min<std::uint64_t>(batch_, members_ - part * batch_);
  }
  // Calls piece(place in Program's order, place in the part, bytes).
  template <class Piece>
  void for_pieces(std::size_t part, Piece piece) const {
    for (std::uint64_t m = 0; m < members_of(part); ++m) {
      for (const Plan::Piece& p : pieces_)
        piece((part * batch_ + m) * width_ + p.host, m * member_bytes_ + p.device, p.bytes);
    }
  }

  const std::shared_ptr<Gpu> gpu_;
  const std::vector<Plan::Piece> pieces_;
  const std::uint64_t width_, member_bytes_;
  const std::uint32_t batch_, members_;
};

// What an evaluation hands over besides losses.
struct Taking {
  std::uint32_t what = kTakeNothing;
  std::uint32_t token_words = 0;               // of a member, or of the traced one
  std::uint32_t traced = 0;                    // member
  std::uint32_t chunk = kTokensPerSubmission;  // tokens at a time
  // (first member, its dispatch's members, first token, tokens, what was taken)
  std::function<void(std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, const std::int8_t*)> sink;
};

class DeviceBackend : public Backend {
 public:
  explicit DeviceBackend(std::shared_ptr<Gpu> gpu) : gpu_(std::move(gpu)) {}

  std::string name() const override { return gpu_->name(); }

  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    const Limits limits = gpu_->limits();
    CLUTCH_RETURN_IF_ERROR(check_fit(gpu_->name(), program, workload.noise, limits));
    const Plan plan = make_plan(program, workload.noise, limits);
    return std::vector<MemoryPlan>{
        {name(), static_cast<std::int64_t>(gpu_->memory_bytes()), memory_parts(plan, workload, limits)}};
  }

  Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
              const RuleMemory& memory) override {
    auto bounds = verify(program, noise);
    if (!bounds.ok()) return bounds.status();
    CLUTCH_RETURN_IF_ERROR(check_fit(name(), program, noise, gpu_->limits()));
    program_ = &program;
    noise_ = noise;
    rule_ = memory.rule;
    plan_ = make_plan(program, noise, gpu_->limits());
    CLUTCH_RETURN_IF_ERROR(make_buffers());
    CLUTCH_RETURN_IF_ERROR(put(instructions_, bytes_of(plan_.instructions)));
    CLUTCH_RETURN_IF_ERROR(put(tensors_, bytes_of(plan_.tensors)));
    CLUTCH_RETURN_IF_ERROR(put(state_list_, bytes_of(plan_.states)));
    const auto flat = flatten(plan_.layout, weights);
    CLUTCH_RETURN_IF_ERROR(put(weights_, bytes_of(flat)));
    const auto tables = make_tables();
    CLUTCH_RETURN_IF_ERROR(put(tables_, bytes_of(tables)));
    CLUTCH_RETURN_IF_ERROR(gpu_->submit());
    return load_rule_state(memory);
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    auto states = std::make_unique<DeviceStates>(gpu_, plan_, members);
    CLUTCH_RETURN_IF_ERROR(states->make());
    CLUTCH_RETURN_IF_ERROR(states->zero());
    return std::unique_ptr<States>(std::move(states));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    Taking taking;
    if (!result.logits.empty()) {
      taking.what = kTakeLogits;
      taking.token_words = (plan_.layout.vocab + 3) / 4;
      const std::uint64_t token_bytes =
          std::uint64_t{4} * taking.token_words * std::min(plan_.batch, whole(request.members()));
      taking.chunk = static_cast<std::uint32_t>(
          std::clamp<std::uint64_t>(kTakenBytes / token_bytes, 1, kTokensPerSubmission));
      taking.sink = [&](std::uint32_t first, std::uint32_t members, std::uint32_t token, std::uint32_t tokens,
                        const std::int8_t* from) {
        const std::uint32_t vocab = plan_.layout.vocab;
        for (std::uint32_t m = 0; m < members; ++m) {
          for (std::uint32_t t = 0; t < tokens; ++t) {
            std::copy_n(
                from + (std::size_t{m} * taking.chunk + t) * 4 * taking.token_words, vocab,
                result.logits.begin() + (std::size_t{first + m} * request.length + token + t) * vocab);
          }
        }
      };
    }
    return run(request, static_cast<DeviceStates*>(request.states), taking, result.losses);
  }

  Result<UpdateResult> update(const UpdateRequest& request) override;

  Status read_weights(Weights& out, RuleState* state) const override {
    std::vector<std::int8_t> flat(plan_.layout.weight_bytes);
    CLUTCH_RETURN_IF_ERROR(gpu_->download(*weights_, 0, std::as_writable_bytes(std::span(flat))));
    CLUTCH_RETURN_IF_ERROR(gpu_->submit());
    out = unflatten(plan_.layout, flat);
    return state == nullptr ? Status() : read_rule_state(*state);
  }

  // The pair of the member is run alone, on a copy of its states.
  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    const std::uint32_t first = member / 2 * 2, count = std::min(2u, request.members() - first);
    EvaluateRequest pair = request;
    pair.stream_of = request.stream_of.subspan(first, count);
    if (pair.noise) pair.noise->first_pair += member / 2;
    DeviceStates copy(gpu_, plan_, count);
    CLUTCH_RETURN_IF_ERROR(copy.make());
    CLUTCH_RETURN_IF_ERROR(copy.zero());
    if (request.states != nullptr) {
      const std::uint64_t bytes = std::uint64_t{4} * plan_.state_words;
      const auto& from = *static_cast<DeviceStates&>(*request.states).parts[first / plan_.batch];
      if (bytes > 0)
        CLUTCH_RETURN_IF_ERROR(
            gpu_->copy(from, first % plan_.batch * bytes, *copy.parts[0], 0, count * bytes));
    }
    Taking taking;
    taking.what = kTakeTrace;
    taking.token_words = plan_.trace_words;
    taking.traced = member % 2;
    taking.chunk = static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(kTakenBytes / (4 * plan_.trace_words), 1, kTokensPerSubmission));
    taking.sink = [&](std::uint32_t, std::uint32_t, std::uint32_t token, std::uint32_t tokens,
                      const std::int8_t* from) {
      for (std::uint32_t t = 0; t < tokens; ++t) {
        for (std::uint32_t i = 0; i < plan_.instructions.size(); ++i) {
          const DeviceInstruction& instruction = plan_.instructions[i];
          sink(token + t, i,
               {from + (std::size_t{t} * plan_.trace_words + instruction.trace) * 4, instruction.width});
        }
      }
    };
    std::vector<std::int64_t> losses(count);
    return run(pair, &copy, taking, losses);
  }

 private:
  using Held = std::unique_ptr<Buffer>;

  // A buffer of at least `bytes`; made anew where there is none so large.
  Status have(Held& buffer, std::uint64_t bytes) const {
    bytes = std::max<std::uint64_t>((bytes + 15) & ~std::uint64_t{15}, 16);
    if (buffer != nullptr && buffer->bytes() >= bytes) return {};
    buffer.reset();
    auto made = gpu_->make_buffer(bytes);
    if (!made.ok()) return made.status();
    buffer = std::move(made).value();
    return {};
  }

  Status put(Held& buffer, std::span<const std::byte> bytes) const {
    CLUTCH_RETURN_IF_ERROR(have(buffer, bytes.size()));
    return bytes.empty() ? Status() : gpu_->upload(*buffer, 0, bytes);
  }

  Status make_buffers() {
    for (Held* held : {&noise_buffer_, &slots_, &scratch_, &votes_, &losses_, &request_, &taken_})
      held->reset();
    fresh_.reset();
    CLUTCH_RETURN_IF_ERROR(have(weights_, plan_.layout.weight_bytes));
    CLUTCH_RETURN_IF_ERROR(have(sums_, 4 * kSumWords));
    CLUTCH_RETURN_IF_ERROR(have(votes_, 16));
    CLUTCH_RETURN_IF_ERROR(have(taken_, 16));
    for (Held& state : rule_state_) CLUTCH_RETURN_IF_ERROR(have(state, 16));
    return {};
  }

  Status load_rule_state(const RuleMemory& memory);
  Status read_rule_state(RuleState& out) const;
  Status make_noise(const NoiseSource& source, std::uint32_t first_pair, std::uint32_t pairs);
  Status run(const EvaluateRequest& request, DeviceStates* states, const Taking& taking,
             std::span<std::int64_t> losses);
  Status evaluate_stretch(const EvaluateRequest& request, Buffer& states, EvaluatePush push,
                          const Taking& taking);
  Status take(const Taking& taking, std::uint32_t first, std::uint32_t members, std::uint32_t token,
              std::uint32_t tokens);
  VotePush vote_push(const exact::RuleStep& step) const;
  Status vote(const UpdateRequest& request, std::uint32_t first_pair, std::uint32_t pairs);

  const std::shared_ptr<Gpu> gpu_;
  const Program* program_ = nullptr;
  NoiseShape noise_;
  exact::Rule rule_ = exact::Rule::threshold;
  Plan plan_;
  Held instructions_, tensors_, state_list_, tables_, weights_, noise_buffer_, slots_, scratch_, request_,
      losses_, taken_, votes_, fitness_, sums_;
  std::optional<DeviceStates> fresh_;                   // of evaluations that carry none
  std::array<Held, exact::kMaxRuleStates> rule_state_;  // a word per weight, as weights lie
};

// Noise of `pairs` pairs from first_pair of the source's on, at the start of the noise buffer.
Status DeviceBackend::make_noise(const NoiseSource& source, std::uint32_t first_pair, std::uint32_t pairs) {
  const NoisePush push{.seed_low = static_cast<std::uint32_t>(source.seed),
                       .seed_high = static_cast<std::uint32_t>(source.seed >> 32),
                       .epoch = source.epoch,
                       .first_pair = source.first_pair + first_pair,
                       .pairs = pairs,
                       .noise_words = plan_.noise_words};
  std::uint64_t blocks = 0;  // of the largest tensor
  for (const DeviceTensor& t : plan_.tensors) {
    blocks = std::max(blocks, std::uint64_t{t.stride_a + t.stride_b} / 2 * t.components);
  }
  Buffer* const buffers[] = {tensors_.get(), noise_buffer_.get()};
  return gpu_->dispatch(Kernel::noise, plan_.lanes, buffers, push_of(push),
                        groups(blocks * pairs, plan_.lanes),
                        static_cast<std::uint32_t>(plan_.tensors.size()));
}

// Evaluates stretch by stretch of tokens, batch by batch of members; every stretch is one submission.
Status DeviceBackend::run(const EvaluateRequest& request, DeviceStates* states, const Taking& taking,
                          std::span<std::int64_t> losses) {
  const std::uint32_t members = request.members(), batch = std::min(plan_.batch, whole(members));
  const bool fresh = states == nullptr;
  if (fresh) {
    if (!fresh_ || fresh_->members() < members) {
      fresh_.emplace(gpu_, plan_, members);
      CLUTCH_RETURN_IF_ERROR(fresh_->make());
    }
    states = &*fresh_;
  }
  std::vector<std::uint32_t> words(members + (request.text.size() + 1) / 2);
  std::copy(request.stream_of.begin(), request.stream_of.end(), words.begin());
  std::memcpy(words.data() + members, request.text.data(), request.text.size() * 2);
  if (4 * words.size() > gpu_->limits().buffer_bytes) {
    return fail(name(),
                fmt::format("text of {} bytes is over the device's {} in a buffer", 4 * words.size(),
                            gpu_->limits().buffer_bytes),
                "evaluate fewer tokens at a time (--valid-tokens)");
  }
  CLUTCH_RETURN_IF_ERROR(put(request_, bytes_of(words)));
  CLUTCH_RETURN_IF_ERROR(have(losses_, 8ull * members));
  CLUTCH_RETURN_IF_ERROR(have(noise_buffer_, request.noise ? batch / 2 * 4ull * plan_.noise_words : 16));
  CLUTCH_RETURN_IF_ERROR(have(slots_, plan_.shared_slots ? 16 : batch * 4ull * plan_.slot_words));
  CLUTCH_RETURN_IF_ERROR(have(scratch_, batch * 4ull * plan_.scratch_words));
  const std::uint64_t rows = taking.what == kTakeLogits ? batch : 1;
  CLUTCH_RETURN_IF_ERROR(have(taken_, rows * taking.chunk * 4ull * taking.token_words));
  CLUTCH_RETURN_IF_ERROR(gpu_->zero(*losses_));

  for (std::uint32_t token = 0; token < request.length; token += taking.chunk) {
    const std::uint32_t tokens = std::min(taking.chunk, request.length - token);
    for (std::uint32_t first = 0; first < members; first += plan_.batch) {
      const std::uint32_t count = std::min(plan_.batch, members - first);
      // Noise that fits in one batch stays from stretch to stretch.
      if (request.noise && (token == 0 || members > plan_.batch)) {
        CLUTCH_RETURN_IF_ERROR(make_noise(*request.noise, first / 2, (count + 1) / 2));
      }
      EvaluatePush push{};
      push.first_member = first;
      push.members = count;
      for (const Stretch& stretch : cut(plan_.cost, token, tokens, gpu_->limits().iterations)) {
        push.first_token = stretch.first_token;
        push.tokens = stretch.tokens;
        push.begin = stretch.begin;
        push.end = stretch.end;
        push.fresh = fresh && stretch.first_token == 0;
        push.taken_token = stretch.first_token - token;
        CLUTCH_RETURN_IF_ERROR(evaluate_stretch(request, *states->parts[first / plan_.batch], push, taking));
      }
      CLUTCH_RETURN_IF_ERROR(take(taking, first, count, token, tokens));
    }
    if (token + taking.chunk < request.length) CLUTCH_RETURN_IF_ERROR(gpu_->submit());
  }
  CLUTCH_RETURN_IF_ERROR(gpu_->download(*losses_, 0, std::as_writable_bytes(losses)));
  return gpu_->submit();
}

// `push` says which members, tokens and instructions.
Status DeviceBackend::evaluate_stretch(const EvaluateRequest& request, Buffer& states, EvaluatePush push,
                                       const Taking& taking) {
  push.instructions = static_cast<std::uint32_t>(plan_.instructions.size());
  push.states = static_cast<std::uint32_t>(plan_.states.size());
  push.slot_words = plan_.slot_words;
  push.state_words = plan_.state_words;
  push.noise_words = plan_.noise_words;
  push.scratch_words = plan_.scratch_words;
  push.window = plan_.layout.window;
  push.count_at = plan_.count_at;
  push.output_at = plan_.layout.output / 4;
  push.vocab = plan_.layout.vocab;
  push.noisy = request.noise.has_value();
  push.sigma_shift = static_cast<std::uint32_t>(noise_.sigma_shift);
  push.stream_tokens = request.length;
  push.text_at = request.members();
  push.take = taking.what;
  push.taken_words = taking.token_words;
  push.taken_tokens = taking.chunk;
  push.traced = taking.traced;
  Buffer* const buffers[] = {instructions_.get(), tensors_.get(), state_list_.get(),   tables_.get(),
                             weights_.get(),      weights_.get(), noise_buffer_.get(), slots_.get(),
                             scratch_.get(),      &states,        request_.get(),      losses_.get(),
                             taken_.get()};
  return gpu_->dispatch(plan_.shared_slots ? Kernel::evaluate_shared : Kernel::evaluate, plan_.lanes, buffers,
                        push_of(push), rounded_up(push.members, kTile), 1);
}

// Brings over what the stretches of some tokens have left in the buffer.
Status DeviceBackend::take(const Taking& taking, std::uint32_t first, std::uint32_t members,
                           std::uint32_t token, std::uint32_t tokens) {
  if (taking.what == kTakeNothing) return {};
  std::vector<std::int8_t> taken(taken_->bytes());
  CLUTCH_RETURN_IF_ERROR(gpu_->download(*taken_, 0, std::as_writable_bytes(std::span(taken))));
  CLUTCH_RETURN_IF_ERROR(gpu_->submit());
  taking.sink(first, members, token, tokens, taken.data());
  return {};
}

Result<UpdateResult> DeviceBackend::update(const UpdateRequest& request) {
  check(request.matrix.rule == rule_ && request.vector.rule == rule_, "the update is of the rule loaded");
  const auto pairs = static_cast<std::uint32_t>(request.fitness.size());
  const std::uint32_t batch = plan_.batch / 2;
  std::vector<std::int8_t> fitness(request.fitness.begin(), request.fitness.end());
  fitness.resize((fitness.size() + 3) / 4 * 4);
  CLUTCH_RETURN_IF_ERROR(put(fitness_, bytes_of(fitness)));
  CLUTCH_RETURN_IF_ERROR(have(noise_buffer_, std::min(pairs, batch) * 4ull * plan_.noise_words));
  if (!votes_at_once(plan_, pairs, gpu_->limits()))
    CLUTCH_RETURN_IF_ERROR(have(votes_, 4 * plan_.layout.weight_bytes));
  CLUTCH_RETURN_IF_ERROR(gpu_->zero(*sums_));
  for (std::uint32_t first = 0; first < pairs; first += batch) {
    const std::uint32_t count = std::min(batch, pairs - first);
    CLUTCH_RETURN_IF_ERROR(make_noise(request.noise, first, count));
    CLUTCH_RETURN_IF_ERROR(vote(request, first, count));
  }
  for (std::uint32_t t = 0; t < plan_.tensors.size(); ++t) {
    Buffer* const buffers[] = {tensors_.get(), weights_.get(), sums_.get()};
    const std::uint64_t terms = std::uint64_t{plan_.tensors[t].rows} * plan_.tensors[t].cols / 8 + 1;
    CLUTCH_RETURN_IF_ERROR(gpu_->dispatch(Kernel::digest, plan_.lanes, buffers, push_of(DigestPush{t}),
                                          std::min(groups(terms, plan_.lanes), kMostDigestGroups), 1));
  }
  std::array<std::uint32_t, kSumWords> sums{};
  CLUTCH_RETURN_IF_ERROR(gpu_->download(*sums_, 0, std::as_writable_bytes(std::span(sums))));
  CLUTCH_RETURN_IF_ERROR(gpu_->submit());
  UpdateResult result{.moved = sums[kMovedAt]};
  for (std::uint32_t limb = 0; limb < kLimbs; ++limb) {
    result.digest += std::uint64_t{sums[kLimbsAt + limb]} << (8 * limb);  // modulo 2^64
  }
  return result;
}

// The constants of the rule.
VotePush DeviceBackend::vote_push(const exact::RuleStep& step) const {
  constexpr std::int64_t kMostVotes = 0x7FFFFFFF;  // votes are below 2^31: no larger threshold lets one pass
  VotePush push{};
  push.noise_words = plan_.noise_words;
  push.rule = static_cast<std::uint32_t>(rule_);
  push.rule_states = static_cast<std::uint32_t>(exact::entry(rule_).state_count());
  push.threshold = static_cast<std::int32_t>(std::min(step.threshold, kMostVotes));
  push.limit = step.scale.limit;
  push.shift = step.scale.shift;
  push.multiplier = step.scale.multiplier;
  push.bits = step.scale.bits;
  push.forget = step.forget_q14;
  push.forget_square = step.forget_square_q14;
  push.rate = step.rate_q12;
  push.decay = step.decay_q24;
  return push;
}

// Adds the votes of pairs first_pair .. whose noise is in the buffer; the last of all bring the rule.
Status DeviceBackend::vote(const UpdateRequest& request, std::uint32_t first_pair, std::uint32_t pairs) {
  for (std::uint32_t t = 0; t < plan_.tensors.size(); ++t) {
    const DeviceTensor& tensor = plan_.tensors[t];
    VotePush push = vote_push(tensor.is_vector != 0 ? request.vector : request.matrix);
    push.tensor = t;
    Buffer* const buffers[] = {tensors_.get(),       noise_buffer_.get(),  fitness_.get(),
                               weights_.get(),       votes_.get(),         rule_state_[0].get(),
                               rule_state_[1].get(), rule_state_[2].get(), sums_.get()};
    for (std::uint32_t done = 0; done < pairs; done += push.pairs) {
      push.noise_pair = done;
      push.first_pair = first_pair + done;
      push.pairs = std::min(pairs - done, pairs_at_once(plan_, tensor, gpu_->limits()));
      push.begins = push.first_pair == 0;
      push.ends = push.first_pair + push.pairs == request.fitness.size();
      CLUTCH_RETURN_IF_ERROR(gpu_->dispatch(Kernel::vote, plan_.lanes, buffers, push_of(push),
                                            groups(items_of(tensor), plan_.lanes), 1));
    }
  }
  return {};
}

Status DeviceBackend::load_rule_state(const RuleMemory& memory) {
  const RuleState state = whole_rule_state(*program_, memory);
  for (std::size_t k = 0; k < state.size(); ++k) {
    std::vector<std::int32_t> words(plan_.layout.weight_bytes);
    for_rows(plan_.layout, [&](std::size_t tensor, std::size_t from, std::size_t to, std::size_t count) {
      std::copy_n(state[k][tensor].data() + from, count, words.data() + to);
    });
    CLUTCH_RETURN_IF_ERROR(put(rule_state_[k], bytes_of(words)));
    CLUTCH_RETURN_IF_ERROR(gpu_->submit());
  }
  return {};
}

Status DeviceBackend::read_rule_state(RuleState& out) const {
  out = whole_rule_state(*program_, {rule_, {}});
  for (std::size_t k = 0; k < out.size(); ++k) {
    std::vector<std::int32_t> words(plan_.layout.weight_bytes);
    CLUTCH_RETURN_IF_ERROR(gpu_->download(*rule_state_[k], 0, std::as_writable_bytes(std::span(words))));
    CLUTCH_RETURN_IF_ERROR(gpu_->submit());
    for_rows(plan_.layout, [&](std::size_t tensor, std::size_t to, std::size_t from, std::size_t count) {
      std::copy_n(words.data() + from, count, out[k][tensor].data() + to);
    });
  }
  return {};
}

}  // namespace

std::unique_ptr<Backend> make_device_backend(std::shared_ptr<Gpu> gpu) {
  return std::make_unique<DeviceBackend>(std::move(gpu));
}

}  // namespace clutch::device
