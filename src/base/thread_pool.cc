#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <chrono>

namespace clutch {
namespace {

// Onto processor `index` of those this process may use, counted round. Failing to is no harm.
void pin(std::thread& thread, int index) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) == 0) return;
  index %= CPU_COUNT(&allowed);
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (!CPU_ISSET(processor, &allowed) || index-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    pthread_setaffinity_np(thread.native_handle(), sizeof one, &one);
    return;
  }
}

// Looks for `condition` a while before the caller goes to sleep for it. Waking a thread takes longer than a
// short task, and an update is a few short runs in a row; yielding leaves the processor to whoever needs it.
template <class F>
void look_for(F condition) {
  const auto begin = std::chrono::steady_clock::now();
  while (!condition() && std::chrono::steady_clock::now() - begin < std::chrono::microseconds(50))
    std::this_thread::yield();
}

}  // namespace

ThreadPool::ThreadPool(const Threads& threads) {
  for (int t = 1; t < threads.count; ++t) {
    workers_.emplace_back([this, t] { work_loop(t); });
    if (threads.pinned) pin(workers_.back(), t);
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int tasks, const std::function<void(int, int)>& work) {
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    tasks_ = tasks;
    next_ = 0;
    running_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  start_.notify_all();
  take_tasks(0);
  const auto done = [this] { return running_ == 0; };
  look_for(done);
  if (done()) return;
  std::unique_lock lock(mutex_);
  done_.wait(lock, done);
}

void ThreadPool::work_loop(int thread) {
  long seen = 0;
  const auto called = [&] { return stop_ || generation_ != seen; };
  for (;;) {
    look_for(called);
    if (!called()) {
      std::unique_lock lock(mutex_);
      start_.wait(lock, called);
    }
    if (stop_) return;
    seen = generation_;
    take_tasks(thread);
    if (--running_ > 0) continue;
    const std::lock_guard lock(mutex_);  // or the caller might look, then miss this, then sleep
    done_.notify_one();
  }
}

void ThreadPool::take_tasks(int thread) {
  for (int task = next_++; task < tasks_; task = next_++) (*work_)(task, thread);
}

}  // namespace clutch
