// A text in the making: one stream through a loaded model, without noise.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "generate/sampler.h"

namespace clutch {

class Generator {
 public:
  // The backend has `program` loaded and outlives the generator; training states are untouched.
  static Result<Generator> create(Backend& backend, const Program& program);

  // Reads tokens (each below the vocabulary) of the prompt.
  Status feed(std::span<const std::uint16_t> tokens);

  // Chooses the next token and reads it in turn; at least one token has been fed.
  Result<std::uint16_t> next(const Sampling& sampling);

 private:
  Generator(Backend& backend, const Program& program, std::unique_ptr<States> states)
      : backend_(&backend), program_(&program), states_(std::move(states)) {}

  Backend* backend_;
  const Program* program_;
  std::unique_ptr<States> states_;
  std::vector<std::int8_t> logits_;  // after the last token read
  std::uint32_t position_ = 0;       // tokens read
};

}  // namespace clutch
