#include "parity/lockstep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backend/reference/reference.h"
#include "parity/explain.h"
#include "parity/trace.h"
#include "program/print.h"

namespace clutch::parity {
namespace {

// The first place where two arrays of one size differ; nothing where they are equal byte by byte.
template <class T>
std::optional<std::size_t> first_difference(const std::vector<T>& a, const std::vector<T>& b) {
  check_equal(a.size(), b.size(), "sizes of what two backends computed");
  if (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0) return {};
  return std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
}

// The rows of states that belong to some members.
std::vector<std::int8_t> rows(const std::vector<std::int8_t>& states, std::size_t width, std::uint32_t first,
                              std::uint32_t count) {
  if (states.empty()) return {};
  const auto begin = states.begin() + static_cast<std::ptrdiff_t>(first * width);
  return {begin, begin + static_cast<std::ptrdiff_t>(count * width)};
}

// Which part of a member's states an element is.
std::string state_words(const Program& program, std::int64_t element) {
  for (const State& state : program.states) {
    const Slot& slot = program.slots[state.read];
    if (element < slot.width) return fmt::format("state {}, element {}", slot.name, element);
    element -= slot.width;
  }
  if (element < kCountWidth) return fmt::format("the count of positions, byte {}", element);
  return fmt::format("the caches of attention, byte {}", element - kCountWidth);
}

}  // namespace

struct Lockstep::Results {
  std::vector<std::int64_t> losses;
  std::vector<std::int8_t> logits, states;
};

struct Lockstep::Updated {
  UpdateResult result;
  Weights weights;
  RuleState remembered;
};

std::string describe(const Compared& c) {
  std::string text =
      fmt::format("{} losses, {} logits, {} bytes of states, {} traces, {} updates, {} weights", c.losses,
                  c.logits, c.states, c.traced, c.updates, c.weights);
  if (c.logits_left_out > 0)
    text += fmt::format("; {} logits left out, too many at a time", c.logits_left_out);
  if (c.updates > 0) text += fmt::format("; digest {:016x}", c.digest);
  return text;
}

Status Lockstep::load() {
  for (Backend* backend : {&a_, &b_}) {
    CLUTCH_RETURN_IF_ERROR(backend->supports(start_.program, start_.noise));
    CLUTCH_RETURN_IF_ERROR(backend->load(start_.program, start_.noise, start_.weights, start_.memory));
    if (start_.states.empty()) continue;
    auto states = backend->new_states(start_.members);
    if (!states.ok()) return states.status();
    CLUTCH_RETURN_IF_ERROR(states.value()->write(start_.states));
    (backend == &a_ ? states_a_ : states_b_) = std::move(states).value();
  }
  states_ = start_.states;
  weights_ = start_.weights;
  remembered_ = whole_rule_state(start_.program, start_.memory);
  return {};
}

Result<Lockstep::Results> Lockstep::evaluate_one(Backend& backend, States* states,
                                                 const Evaluation& evaluation, bool logits) {
  Results results;
  results.losses.resize(evaluation.stream_of.size());
  if (logits)
    results.logits.resize(results.losses.size() * evaluation.length *
                          static_cast<std::size_t>(start_.program.vocab));
  CLUTCH_RETURN_IF_ERROR(
      backend.evaluate(request_of(evaluation, states), {.losses = results.losses, .logits = results.logits}));
  results.states.resize(states_.size());
  if (states != nullptr) CLUTCH_RETURN_IF_ERROR(states->read(results.states));
  return results;
}

Result<std::optional<Difference>> Lockstep::evaluate(const Evaluation& evaluation,
                                                     std::optional<std::uint32_t> traced) {
  const std::uint64_t logits =
      evaluation.stream_of.size() * std::uint64_t{evaluation.length} * start_.program.vocab;
  auto a = evaluate_one(a_, states_a_.get(), evaluation, logits <= kMaxLogits);
  if (!a.ok()) return a.status();
  auto b = evaluate_one(b_, states_b_.get(), evaluation, logits <= kMaxLogits);
  if (!b.ok()) return b.status();
  const Results &ours = a.value(), &theirs = b.value();
  losses_ = ours.losses;

  // The first member with any difference, and how many of its tokens lead up to the first one.
  std::size_t member = ours.losses.size(), length = evaluation.length;
  if (const auto at = first_difference(ours.losses, theirs.losses)) member = *at;
  if (const auto at = first_difference(ours.states, theirs.states))
    member = std::min(member, *at / static_cast<std::size_t>(start_.program.state_width()));
  if (const auto at = first_difference(ours.logits, theirs.logits)) {
    const std::size_t token = *at / static_cast<std::size_t>(start_.program.vocab);
    member = std::min(member, token / evaluation.length);
    if (member == token / evaluation.length) length = token % evaluation.length + 1;
  }
  compared_.losses += ours.losses.size();
  compared_.states += ours.states.size();
  compared_.logits += ours.logits.size();
  if (logits > kMaxLogits) compared_.logits_left_out += logits;
  if (member == ours.losses.size()) {
    if (traced) {
      auto difference = compare_trace(evaluation, *traced);
      if (!difference.ok() || difference.value()) return difference;
    }
    states_ = ours.states;
    return std::optional<Difference>();
  }
  auto difference = locate(evaluation, static_cast<std::uint32_t>(member), static_cast<std::uint32_t>(length),
                           ours, theirs);
  if (!difference.ok()) return difference.status();
  return std::optional(std::move(difference).value());
}

// After an evaluation with equal results.
Result<std::optional<Difference>> Lockstep::compare_trace(const Evaluation& evaluation,
                                                          std::uint32_t member) {
  auto found = compare_traces(a_, b_, {start_.program, evaluation, states_, member});
  if (!found.ok()) return found.status();
  ++compared_.traced;
  if (!found.value()) return std::optional<Difference>();
  auto difference = locate(evaluation, member, evaluation.length, {}, {});
  if (!difference.ok()) return difference.status();
  return std::optional(std::move(difference).value());
}

// `length` tokens of the member are known to lead up to a difference, where one shows in its logits. Results
// are empty where only the trace is known to differ.
Result<Difference> Lockstep::locate(const Evaluation& evaluation, std::uint32_t member, std::uint32_t length,
                                    const Results& a, const Results& b) {
  Difference d;
  d.step = step_;
  d.member = member;
  if (only_whether_) return d;
  const Evaluation shorter = first_tokens(evaluation, length);
  const Traced what{start_.program, shorter, states_, member};
  auto found = compare_traces(a_, b_, what);
  if (!found.ok()) return found.status();
  d.text = fmt::format("{} differ\nstep      {}, {}\n", names(), step_, member_words(evaluation, member));
  if (found.value()) {
    d.kind = Difference::Kind::kInstruction;
    d.token = found.value()->token;
    d.instruction = found.value()->instruction;
    CLUTCH_RETURN_IF_ERROR(add_instruction(what, d));
    if (a.losses.empty())
      d.text += "(evaluate() gives the same losses, logits and states by both: trace() alone is at fault)\n";
  } else {
    d.kind = Difference::Kind::kResults;
    add_results(evaluation, a, b, d);
  }
  const std::uint32_t needed = d.kind == Difference::Kind::kInstruction ? d.token + 1 : evaluation.length;
  Case small = reduced(evaluation, member, needed);
  auto shows = still_differs(small, evaluation.noise ? member % 2 : 0);
  if (!shows.ok()) return shows.status();
  if (!shows.value()) d.text += "(it takes the whole shard to show: by itself that member is the same)\n";
  d.repeat = shows.value() ? std::move(small) : whole({evaluation, {}});
  return d;
}

// The instruction where two traces part, with its values and operands.
Status Lockstep::add_instruction(const Traced& what, Difference& d) {
  const Program& program = start_.program;
  const Instruction& instruction = program.instructions[d.instruction];
  auto ours = slots_at(a_, what, d.token), theirs = slots_at(b_, what, d.token);
  if (!ours.ok()) return ours.status();
  if (!theirs.ok()) return theirs.status();
  const std::vector<std::int8_t>&x = ours.value().now[instruction.dst],
        &y = theirs.value().now[instruction.dst];
  const auto element = first_difference(x, y);
  if (!element) {
    return fail(names(), "their traces differ, and at a second look do not",
                "one of them is not deterministic: run it under a race detector");
  }
  d.element = static_cast<std::int64_t>(*element);
  d.a = x[*element];
  d.b = y[*element];
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < x.size(); ++i) wrong += x[i] != y[i];
  d.text += fmt::format(
      "token     {} of the window, input {}\n", d.token,
      what.evaluation
          .text[std::size_t{what.evaluation.stream_of[what.member]} * (what.evaluation.length + 1) +
                d.token]);
  if (instruction.tensor != kNothing && program.tensors[instruction.tensor].layer != TensorSpec::kUnstacked)
    d.text += fmt::format("layer     {}\n", program.tensors[instruction.tensor].layer);
  d.text += fmt::format("instr.    {} of {}: {}\n", d.instruction, program.instructions.size(),
                        print_instruction(program, static_cast<int>(d.instruction)));
  d.text += fmt::format("element   {}: {} by {}, {} by {}", d.element, d.a, a_.name(), d.b, b_.name());
  // A judge of its own, unless one of the two is it.
  if (a_.name() != "reference" && b_.name() != "reference") {
    auto judge = make_reference_backend();
    CLUTCH_RETURN_IF_ERROR(judge->load(program, start_.noise, weights_));
    auto right = slots_at(*judge, what, d.token);
    if (!right.ok()) return right.status();
    d.text += fmt::format(", {} by reference", right.value().now[instruction.dst][*element]);
  }
  d.text += fmt::format(" ({} of {} elements differ)\noperands\n", wrong, x.size()) +
            explain_instruction(what, start_.noise, weights_, ours.value(), d);
  return {};
}

// What evaluate() gave where the traces are the same.
void Lockstep::add_results(const Evaluation& evaluation, const Results& a, const Results& b,
                           Difference& d) const {
  d.text += "traces    are the same, every result of every instruction: evaluate() goes another way\n";
  if (a.losses[d.member] != b.losses[d.member]) {
    d.a = a.losses[d.member], d.b = b.losses[d.member];
    d.text += fmt::format("loss      {} by {}, {} by {}\n", d.a, a_.name(), d.b, b_.name());
  }
  const auto vocab = static_cast<std::size_t>(start_.program.vocab);
  if (const auto at = first_difference(a.logits, b.logits)) {
    d.text += fmt::format("logits    of member {}, token {}, element {}: {} by {}, {} by {}\n",
                          *at / vocab / evaluation.length, *at / vocab % evaluation.length, *at % vocab,
                          a.logits[*at], a_.name(), b.logits[*at], b_.name());
  } else if (!a.logits.empty()) {
    d.text += "logits    are the same\n";
  }
  if (const auto at = first_difference(a.states, b.states)) {
    const auto width = static_cast<std::size_t>(start_.program.state_width());
    d.text += fmt::format("states    of member {}, {}: {} by {}, {} by {}\n", *at / width,
                          state_words(start_.program, static_cast<std::int64_t>(*at % width)), a.states[*at],
                          a_.name(), b.states[*at], b_.name());
  } else if (!a.states.empty()) {
    d.text += "states    are the same\n";
  }
}

// The evaluation of the member's pair alone, or without noise of the member, and of `length` tokens.
Case Lockstep::reduced(const Evaluation& evaluation, std::uint32_t member, std::uint32_t length) const {
  const std::uint32_t first = evaluation.noise ? member / 2 * 2 : member;
  const std::uint32_t count = evaluation.noise ? std::min(2u, start_.members - first) : 1;
  const auto width = static_cast<std::size_t>(start_.program.state_width());
  const Evaluation shorter = first_tokens(evaluation, length);
  Evaluation small{.noise = evaluation.noise, .length = length, .text = {}, .stream_of = {}};
  if (small.noise) small.noise->first_pair += member / 2;
  for (std::uint32_t m = 0; m < count; ++m) {
    const auto text = shorter.text.begin() +
                      static_cast<std::ptrdiff_t>(std::size_t{shorter.stream_of[first + m]} * (length + 1));
    small.text.insert(small.text.end(), text, text + length + 1);
    small.stream_of.push_back(m);
  }
  return {{.program = start_.program,
           .noise = start_.noise,
           .weights = weights_,
           .memory = {start_.memory.rule, {}},
           .members = count,
           .states = rows(states_, width, first, count)},
          {{small, {}}}};
}

Case Lockstep::whole(const Step& step) const {
  return {{.program = start_.program,
           .noise = start_.noise,
           .weights = weights_,
           .memory = {start_.memory.rule, remembered_},
           .members = start_.members,
           .states = states_},
          {step}};
}

Result<bool> Lockstep::still_differs(const Case& small, std::uint32_t member) {
  Lockstep again(a_, b_, small.start);
  again.only_whether_ = true;
  CLUTCH_RETURN_IF_ERROR(again.load());
  auto difference = again.evaluate(*small.steps[0].evaluation, member);
  if (!difference.ok()) return difference.status();
  return difference.value().has_value();
}

Result<std::optional<Difference>> Lockstep::update(const Update& update) {
  const UpdateRequest request{
      .noise = update.noise, .fitness = update.fitness, .matrix = update.matrix, .vector = update.vector};
  Updated updated[2];
  for (const int i : {0, 1}) {
    Backend& backend = i == 0 ? a_ : b_;
    auto result = backend.update(request);
    if (!result.ok()) return result.status();
    updated[i].result = result.value();
    CLUTCH_RETURN_IF_ERROR(backend.read_weights(updated[i].weights, &updated[i].remembered));
  }
  auto& [a, b] = updated;
  Difference d;
  d.kind = Difference::Kind::kUpdate;
  d.step = step_;
  for (std::size_t t = 0; t < a.weights.size() && d.tensor == kNothing; ++t) {
    auto at = first_difference(a.weights[t], b.weights[t]);
    for (std::size_t k = 0; k < a.remembered.size(); ++k) {
      const auto word = first_difference(a.remembered[k][t], b.remembered[k][t]);
      if (word) at = std::min(*word, at.value_or(*word));
    }
    if (!at) continue;
    d.tensor = static_cast<int>(t);
    d.element = static_cast<std::int64_t>(*at);
  }
  if (d.tensor != kNothing || a.result.moved != b.result.moved || a.result.digest != b.result.digest) {
    describe_update(update, a, b, d);
    return std::optional(std::move(d));
  }
  weights_ = std::move(a.weights);
  remembered_ = std::move(a.remembered);
  ++compared_.updates;
  compared_.weights += static_cast<std::uint64_t>(start_.program.parameters());
  compared_.digest = a.result.digest;
  return std::optional<Difference>();
}

// d.tensor is nothing where only moved or digest differ.
void Lockstep::describe_update(const Update& update, const Updated& a, const Updated& b,
                               Difference& d) const {
  d.text = fmt::format("{} differ\nstep      {}, its update\n", names(), step_);
  if (d.tensor != kNothing) {
    WeightChange change;
    change.tensor = d.tensor;
    change.element = d.element;
    change.before = weights_[d.tensor][d.element];
    change.a = a.weights[d.tensor][d.element];
    change.b = b.weights[d.tensor][d.element];
    d.a = change.a;
    d.b = change.b;
    for (std::size_t k = 0; k < a.remembered.size(); ++k) {
      change.remembered.push_back(remembered_[k][d.tensor][d.element]);
      change.remembered_a.push_back(a.remembered[k][d.tensor][d.element]);
      change.remembered_b.push_back(b.remembered[k][d.tensor][d.element]);
    }
    d.text += explain_weight(start_.program, start_.noise, update, change, a_.name(), b_.name());
  } else {
    d.text += fmt::format("weights   are the same, with digest {:016x}\n",
                          clutch::digest(start_.program, a.weights));
  }
  d.text += fmt::format("moved     {} by {}, {} by {}\ndigest    {:016x} by {}, {:016x} by {}\n",
                        a.result.moved, a_.name(), b.result.moved, b_.name(), a.result.digest, a_.name(),
                        b.result.digest, b_.name());
  d.repeat = whole({{}, update});
  d.repeat.start.members = 0;
  d.repeat.start.states.clear();
}

Result<Outcome> run_case(Backend& a, Backend& b, const Case& c) {
  Lockstep lockstep(a, b, c.start);
  CLUTCH_RETURN_IF_ERROR(lockstep.load());
  for (std::size_t s = 0; s < c.steps.size(); ++s) {
    std::optional<Difference> found;
    if (const auto& evaluation = c.steps[s].evaluation) {
      const auto traced = static_cast<std::uint32_t>((7 * s + c.start.members / 2) % c.start.members);
      auto difference = lockstep.evaluate(*evaluation, traced);
      if (!difference.ok()) return difference.status();
      found = std::move(difference).value();
    }
    if (c.steps[s].update && !found) {
      auto difference = lockstep.update(*c.steps[s].update);
      if (!difference.ok()) return difference.status();
      found = std::move(difference).value();
    }
    if (found) return Outcome{lockstep.compared(), std::move(found)};
    lockstep.next_step();
  }
  return Outcome{lockstep.compared(), {}};
}

}  // namespace clutch::parity
