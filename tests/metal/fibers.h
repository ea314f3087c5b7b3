// A threadgroup's threads as fibers on one thread: each runs until it meets a barrier, then the next one
// does.
#pragma once

#include <cstdint>
#include <functional>

// Runs body(0) .. body(count - 1), each as a fiber; returns when all have ended. Aborts where some end while
// others wait at a barrier: on a GPU that hangs.
void run_fibers(std::uint32_t count, const std::function<void(std::uint32_t)>& body);

// Of the fiber that calls it: waits until all fibers are here.
void threadgroup_barrier_of_fibers();
