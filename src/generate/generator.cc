#include "generate/generator.h"

#include <utility>

namespace clutch {

Result<Generator> Generator::create(Backend& backend, const Program& program) {
  auto states = backend.new_states(1);
  if (!states.ok()) return states.status();
  return Generator(backend, program, std::move(states).value());
}

Status Generator::feed(std::span<const std::uint16_t> tokens) {
  constexpr std::size_t kAtATime = 256;  // bounds the logits, which come for every token
  for (; tokens.size() > kAtATime; tokens = tokens.subspan(kAtATime)) {
    CLUTCH_RETURN_IF_ERROR(feed(tokens.first(kAtATime)));
  }
  if (tokens.empty()) return {};
  std::vector<std::uint16_t> text(tokens.begin(), tokens.end());
  text.push_back(0);  // a target nobody asks about
  const auto length = static_cast<std::uint32_t>(tokens.size());
  const std::uint32_t stream = 0;
  std::int64_t loss = 0;
  std::vector<std::int8_t> logits(tokens.size() * static_cast<std::size_t>(program_->vocab));
  CLUTCH_RETURN_IF_ERROR(backend_->evaluate(
      {.noise = {}, .length = length, .text = text, .stream_of = {&stream, 1}, .states = states_.get()},
      {.losses = {&loss, 1}, .logits = logits}));
  logits_.assign(logits.end() - program_->vocab, logits.end());
  position_ += length;
  return {};
}

Result<std::uint16_t> Generator::next(const Sampling& sampling) {
  check(!logits_.empty(), "a generator is fed before it goes on");
  const std::uint16_t token = sample(logits_, sampling, position_);
  CLUTCH_RETURN_IF_ERROR(feed({&token, 1}));
  return token;
}

}  // namespace clutch
