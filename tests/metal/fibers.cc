#include "metal/fibers.h"

#include <ucontext.h>

#include <cstdlib>
#include <memory>
#include <vector>

namespace {

constexpr std::size_t kStackBytes = 256 << 10;

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  bool ended = false;
};

ucontext_t scheduler;
std::vector<Fiber> fibers;
std::uint32_t current = 0;
const std::function<void(std::uint32_t)>* work = nullptr;

void enter() {
  (*work)(current);
  fibers[current].ended = true;
}

}  // namespace

void run_fibers(std::uint32_t count, const std::function<void(std::uint32_t)>& body) {
  if (fibers.size() != count) fibers = std::vector<Fiber>(count);
  work = &body;
  for (Fiber& fiber : fibers) {
    fiber.ended = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, enter, 0);
  }
  bool forwards = true;  // by turns, so that whoever misses a barrier is caught from either side
  for (std::uint32_t ended = 0; ended == 0; forwards = !forwards) {
    for (std::uint32_t i = 0; i < count; ++i) {
      current = forwards ? i : count - 1 - i;
      swapcontext(&scheduler, &fibers[current].context);
      ended += fibers[current].ended ? 1 : 0;
    }
    if (ended != 0 && ended != count) std::abort();
  }
}

void threadgroup_barrier_of_fibers() { swapcontext(&fibers[current].context, &scheduler); }
