#include "parity/trace.h"

#include <fmt/format.h>

#include "exact/digest.h"

namespace clutch::parity {
namespace {

// Sees to it that a trace comes in order and whole: token by token, instructions in program order.
class Order {
 public:
  Order(const Program& program, std::string backend) : program_(program), backend_(std::move(backend)) {}
  bool next(std::uint32_t token, std::uint32_t instruction, std::size_t width) {
    const std::size_t count = program_.instructions.size();
    const bool expected =
        status_.ok() && token == seen_ / count && instruction == seen_ % count &&
        width == static_cast<std::size_t>(program_.slots[program_.instructions[instruction].dst].width);
    if (!expected && status_.ok()) {
      status_ = fail(backend_,
                     fmt::format("its trace hands over token {}, instruction {}, {} values where token {}, "
                                 "instruction {} comes next",
                                 token, instruction, width, seen_ / count, seen_ % count),
                     "correct its trace(): backend.h says in what order");
    }
    ++seen_;
    return expected;
  }
  Status finish(std::uint32_t length) const {
    if (!status_.ok() || seen_ == length * program_.instructions.size()) return status_;
    return fail(
        backend_,
        fmt::format("its trace hands over {} results, not {}", seen_, length * program_.instructions.size()),
        "correct its trace(): every instruction of every token belongs to it");
  }

 private:
  const Program& program_;
  const std::string backend_;
  std::size_t seen_ = 0;
  Status status_;
};

Status trace(Backend& backend, const Traced& what, const TraceSink& sink) {
  std::unique_ptr<States> states;
  if (!what.states.empty()) {
    auto made = backend.new_states(static_cast<std::uint32_t>(what.evaluation.stream_of.size()));
    if (!made.ok()) return made.status();
    states = std::move(made).value();
    CLUTCH_RETURN_IF_ERROR(states->write(what.states));
  }
  Order order(what.program, backend.name());
  const TraceSink checked = [&](std::uint32_t token, std::uint32_t instruction,
                                std::span<const std::int8_t> values) {
    if (order.next(token, instruction, values.size())) sink(token, instruction, values);
  };
  CLUTCH_RETURN_IF_ERROR(backend.trace(request_of(what.evaluation, states.get()), what.member, checked));
  if (states) {
    std::vector<std::int8_t> after(what.states.size());
    CLUTCH_RETURN_IF_ERROR(states->read(after));
    if (after != what.states)
      return fail(backend.name(), "its trace changes the states",
                  "leave them as they were: backend.h says so");
  }
  return order.finish(what.evaluation.length);
}

}  // namespace

EvaluateRequest request_of(const Evaluation& evaluation, States* states) {
  return {.noise = evaluation.noise,
          .length = evaluation.length,
          .text = evaluation.text,
          .stream_of = evaluation.stream_of,
          .states = states};
}

Evaluation first_tokens(const Evaluation& evaluation, std::uint32_t length) {
  Evaluation shorter = evaluation;
  shorter.length = length;
  shorter.text.clear();
  const std::size_t old = evaluation.length + std::size_t{1};
  for (std::size_t begin = 0; begin < evaluation.text.size(); begin += old) {
    const auto first = evaluation.text.begin() + static_cast<std::ptrdiff_t>(begin);
    shorter.text.insert(shorter.text.end(), first, first + length + 1);
  }
  return shorter;
}

Result<std::optional<TraceDifference>> compare_traces(Backend& a, Backend& b, const Traced& what) {
  std::vector<std::uint64_t> digests;
  const auto digest_of = [](std::uint32_t instruction, std::span<const std::int8_t> values) {
    return exact::digest_tensor(instruction, values.data(), values.size());
  };
  CLUTCH_RETURN_IF_ERROR(
      trace(a, what, [&](std::uint32_t, std::uint32_t instruction, std::span<const std::int8_t> values) {
        digests.push_back(digest_of(instruction, values));
      }));
  std::optional<TraceDifference> first;
  std::size_t place = 0;
  CLUTCH_RETURN_IF_ERROR(trace(
      b, what, [&](std::uint32_t token, std::uint32_t instruction, std::span<const std::int8_t> values) {
        const bool same = digests[place++] == digest_of(instruction, values);
        if (!same && !first) first = TraceDifference{token, instruction};
      }));
  return first;
}

Result<Slots2> slots_at(Backend& backend, const Traced& what, std::uint32_t token) {
  const Evaluation shorter = first_tokens(what.evaluation, token + 1);
  Slots2 slots{SlotValues(what.program.slots.size()), SlotValues(what.program.slots.size())};
  CLUTCH_RETURN_IF_ERROR(
      trace(backend, {what.program, shorter, what.states, what.member},
            [&](std::uint32_t t, std::uint32_t instruction, std::span<const std::int8_t> values) {
              if (t + 1 < token) return;
              SlotValues& kept = t == token ? slots.now : slots.before;
              kept[what.program.instructions[instruction].dst].assign(values.begin(), values.end());
            }));
  return slots;
}

}  // namespace clutch::parity
