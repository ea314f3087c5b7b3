// A fixed number of threads that run numbered tasks. Which thread runs a task is up to chance, so tasks must
// not depend on it for anything but scratch memory.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace clutch {

// How many threads, and whether each stays on its own processor of the process's affinity mask. The caller's
// own thread is never pinned. Converts from a plain count.
struct Threads {
  Threads(int the_count, bool the_pinned = false)
      : count(the_count), pinned(the_pinned) {}  // NOLINT(google-explicit-constructor)
  int count;
  bool pinned;
};

class ThreadPool {
 public:
  // At least one thread, the caller's own among them.
  explicit ThreadPool(const Threads& threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs work(task, thread) for every task in [0, tasks), thread in [0, threads()), and returns when all are
  // done.
  void run(int tasks, const std::function<void(int, int)>& work);

 private:
  void work_loop(int thread);
  void take_tasks(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int, int)>* work_ = nullptr;
  int tasks_ = 0;
  std::atomic<int> next_{0};
  std::atomic<int> running_{0};
  std::atomic<long> generation_{0};  // of run(); work_ and tasks_ belong to it
  std::atomic<bool> stop_{false};
};

}  // namespace clutch
