// What ranks tell each other, on a cluster of threads: any number of them gives what one process gives, and a
// failure of one is known to all.
#include "run/exchange.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <thread>

#include "base/temp_folder.h"
#include "data/stories.h"
#include "run/checkpoint.h"
#include "run/fitness_log.h"
#include "run/trainer.h"

namespace clutch {
namespace {

// Ranks that are threads of this process.
class Threads {
 public:
  explicit Threads(int size) : size_(size), barrier_(size), bytes_(static_cast<std::size_t>(size)) {}

  // Changes what a rank sends: (rank, how many it has sent before, bytes).
  std::function<void(int, int, std::string&)> tamper = [](int, int, std::string&) {};

  // Runs `work` on every rank at once.
  void run(const std::function<void(Cluster&)>& work) {
    std::vector<std::thread> threads;
    for (int r = 0; r < size_; ++r) {
      threads.emplace_back([&, r] {
        Rank rank(*this, r);
        work(rank);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  class Rank : public Cluster {
   public:
    Rank(Threads& all, int rank) : all_(all), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return all_.size_; }
    Result<std::vector<std::string>> gather(std::string_view bytes) override {
      std::string mine(bytes);
      all_.tamper(rank_, sent_++, mine);
      all_.bytes_[static_cast<std::size_t>(rank_)] = mine;
      all_.barrier_.arrive_and_wait();
      std::vector<std::string> gathered = all_.bytes_;
      all_.barrier_.arrive_and_wait();
      return gathered;
    }

   private:
    Threads& all_;
    const int rank_;
    int sent_ = 0;
  };

  const int size_;
  std::barrier<> barrier_;
  std::vector<std::string> bytes_;
};

constexpr int kSizes[] = {1, 2, 3, 5};
// Groups lie across ranks.
constexpr std::uint32_t kPairs = 15;
const Population kOneText{.size = 2 * kPairs, .group_size = 10, .texts_per_pair = 1, .noise = {}},
    kTwoTexts{.size = 2 * kPairs, .group_size = 5, .texts_per_pair = 2, .noise = {}};

// Some ties, some far apart, and losses near the largest there are.
std::vector<std::int64_t> make_losses() {
  std::mt19937_64 random(4);
  std::vector<std::int64_t> losses;
  for (std::uint32_t m = 0; m < 2 * kPairs; ++m)
    losses.push_back(static_cast<std::int64_t>(random() % (std::uint64_t{1} << std::min(10 + m * 2, 57u))));
  losses[5] = losses[4];
  return losses;
}

StepPart part_of(const Cluster& cluster, const std::vector<std::int64_t>& losses) {
  const Cluster::Share share = cluster.share(kPairs);
  const auto first = losses.begin() + 2 * share.first;
  return {.losses = {first, first + 2 * share.count},
          .digest = 77,
          .stop = false,
          .core_ns = 1000 + std::uint64_t(cluster.rank())};
}

// exchange_step on `size` ranks; the message or outcome of each rank.
std::vector<Result<StepOutcome>> exchange(Threads& threads, int size, FitnessShape shape,
                                          const std::function<void(int, StepPart&)>& change,
                                          const std::function<Status(int)>& trouble,
                                          const Population& population = kOneText) {
  std::vector<Result<StepOutcome>> outcomes(static_cast<std::size_t>(size), StepOutcome{});
  threads.run([&](Cluster& cluster) {
    StepPart part = part_of(cluster, make_losses());
    change(cluster.rank(), part);
    outcomes[static_cast<std::size_t>(cluster.rank())] =
        exchange_step(cluster, shape, population, part, trouble(cluster.rank()));
  });
  return outcomes;
}

const auto kNoChange = [](int, StepPart&) {};
const auto kNoTrouble = [](int) { return Status(); };

TEST(Share, CoversAllItemsAsEvenlyAsTheyDivide) {
  for (const int size : {1, 2, 3, 5, 8}) {
    Threads(size).run([&](Cluster& cluster) {
      if (cluster.rank() != 0) return;
      for (const std::uint32_t items : {0u, 1u, 7u, 8u, 512u, kMaxPopulation / 2}) {
        std::uint32_t next = 0;
        for (int r = 0; r < size; ++r) {
          const Cluster::Share share = cluster.share(items, r);
          EXPECT_EQ(share.first, next);
          EXPECT_GE(share.count, items / static_cast<std::uint32_t>(size));
          EXPECT_LE(share.count, items / static_cast<std::uint32_t>(size) + 1);
          next += share.count;
        }
        EXPECT_EQ(next, items);
      }
    });
  }
}

void expect_what_one_process_gives(FitnessShape shape, const Population& population,
                                   std::uint64_t most_bytes) {
  const auto losses = make_losses();
  const auto fitness = fitness_of(shape, comparable(losses, population), population.group_pairs());
  const std::int64_t sum = std::accumulate(losses.begin(), losses.end(), std::int64_t{0});
  for (const int size : kSizes) {
    Threads threads(size);
    for (const auto& outcome : exchange(threads, size, shape, kNoChange, kNoTrouble, population)) {
      ASSERT_TRUE(outcome.ok()) << outcome.status().message();
      EXPECT_EQ(outcome.value().fitness, fitness) << name(shape) << ", ranks " << size;
      EXPECT_EQ(outcome.value().loss, sum);
      EXPECT_FALSE(outcome.value().stop);
      EXPECT_EQ(outcome.value().odd_rank, -1);
      EXPECT_EQ(outcome.value().core_ns, static_cast<std::uint64_t>(1000 * size + size * (size - 1) / 2));
      EXPECT_LE(outcome.value().bytes, 25 + most_bytes);
    }
  }
}

TEST(ExchangeStep, AnyNumberOfRanksGivesWhatOneProcessGives) {
  for (const FitnessShape shape : {FitnessShape::sign, FitnessShape::scaled, FitnessShape::grouped}) {
    expect_what_one_process_gives(shape, kOneText, shape == FitnessShape::sign ? kPairs / 5 + 1 : 8 * kPairs);
    expect_what_one_process_gives(shape, kTwoTexts, 16 * kPairs);
  }
}

TEST(ExchangeStep, AStopOfOneIsAStopOfAll) {
  for (const int size : kSizes) {
    for (int stopper = 0; stopper < size; ++stopper) {
      Threads threads(size);
      const auto outcomes = exchange(
          threads, size, FitnessShape::sign, [&](int r, StepPart& part) { part.stop = r == stopper; },
          kNoTrouble);
      for (const auto& outcome : outcomes) {
        EXPECT_TRUE(outcome.value().stop);
        EXPECT_EQ(outcome.value().fitness, fitness_of(FitnessShape::sign, make_losses(), 1));
      }
    }
  }
}

TEST(ExchangeStep, TroubleOfOneReachesAll) {
  for (const FitnessShape shape : {FitnessShape::sign, FitnessShape::scaled, FitnessShape::grouped}) {
    for (const int size : kSizes) {
      for (int unlucky = 0; unlucky < size; ++unlucky) {
        Threads threads(size);
        const auto outcomes = exchange(threads, size, shape, kNoChange, [&](int r) {
          return r == unlucky ? fail("disk", "is full", "make room") : Status();
        });
        for (int r = 0; r < size; ++r) {
          const auto& outcome = outcomes[static_cast<std::size_t>(r)];
          ASSERT_FALSE(outcome.ok()) << "rank " << r;
          const std::string expected =
              (r == unlucky ? "" : "rank " + std::to_string(unlucky) + ": ") + "disk: is full; make room";
          EXPECT_EQ(outcome.status().message().substr(0, expected.size()), expected);
        }
      }
    }
  }
}

TEST(ExchangeStep, AnOddRankIsNamed) {
  for (const int size : {2, 3, 5}) {
    for (int odd = 1; odd < size; ++odd) {
      Threads threads(size);
      const auto outcomes = exchange(
          threads, size, FitnessShape::scaled,
          [&](int r, StepPart& part) { part.digest = r == odd ? part.digest ^ 1 : part.digest; }, kNoTrouble);
      for (const auto& outcome : outcomes) EXPECT_EQ(outcome.value().odd_rank, odd);
    }
  }
}

TEST(ExchangeStep, PartsOfTheWrongSizeOrOfNoFitnessAreRefused) {
  const struct {
    FitnessShape shape;
    Population population;
    char last;  // byte of a part that cannot be: of signs, of a difference, of a loss too large or negative
  } forms[] = {{FitnessShape::sign, kOneText, '\xff'},
               {FitnessShape::scaled, kOneText, '\x7f'},
               {FitnessShape::sign, kTwoTexts, '\x7f'},
               {FitnessShape::scaled, kTwoTexts, '\xff'}};
  for (const auto& form : forms) {
    const struct {
      const char* expected;
      std::function<void(std::string&)> change;
    } rows[] = {
        {"rank 1: sent a part of the wrong size", [](std::string& bytes) { bytes.pop_back(); }},
        {"rank 1: sent a part of the wrong size", [](std::string& bytes) { bytes += '\0'; }},
        {"rank 1: sent a part of the wrong size", [](std::string& bytes) { bytes.clear(); }},
        {"rank 1: sent what is no fitness or loss", [&](std::string& bytes) { bytes.back() = form.last; }},
    };
    for (const auto& row : rows) {
      Threads threads(3);
      threads.tamper = [&](int rank, int, std::string& bytes) {
        if (rank == 1) row.change(bytes);
      };
      for (const auto& outcome : exchange(threads, 3, form.shape, kNoChange, kNoTrouble, form.population)) {
        ASSERT_FALSE(outcome.ok());
        EXPECT_EQ(outcome.status().message().find(row.expected), 0u) << outcome.status().message();
      }
    }
  }
}

TEST(Agree, IsTheFailureOfAny) {
  for (const int size : kSizes) {
    for (int unlucky = -1; unlucky < size; ++unlucky) {
      Threads(size).run([&](Cluster& cluster) {
        const Status status =
            agree(cluster, cluster.rank() == unlucky ? fail("file", "is lost", "find it") : Status());
        EXPECT_EQ(status.ok(), unlucky < 0);
        if (unlucky < 0) return;
        EXPECT_NE(status.message().find("file: is lost; find it"), std::string::npos);
        if (cluster.rank() != unlucky) {
          EXPECT_EQ(status.message().find("rank " + std::to_string(unlucky) + ": "), 0u) << status.message();
        }
      });
    }
  }
}

TEST(FromRank0, IsRank0s) {
  for (const int size : kSizes) {
    Threads(size).run([&](Cluster& cluster) {
      const auto bytes = from_rank_0(cluster, "of rank " + std::to_string(cluster.rank()));
      ASSERT_TRUE(bytes.ok());
      EXPECT_EQ(bytes.value(), "of rank 0");
    });
  }
}

TEST(RequireSame, NamesTheFirstThatDiffers) {
  for (const int size : {2, 3, 5}) {
    for (int odd = 0; odd < size; ++odd) {
      Threads(size).run([&](Cluster& cluster) {
        EXPECT_TRUE(require_same(cluster, "the text", "abc", "copy it").ok());
        const Status status =
            require_same(cluster, "the text", cluster.rank() == odd ? "other" : "abc", "copy it");
        ASSERT_FALSE(status.ok());
        EXPECT_EQ(status.message(),
                  odd == 0 ? "the text: rank 1 has abc, rank 0 has other; copy it"
                           : "the text: rank " + std::to_string(odd) + " has other, rank 0 has abc; copy it");
      });
    }
  }
}

// ---- Whole runs by threads ----

class Silent : public TrainObserver {
 public:
  void on_step(const StepReport&) override {}
  void on_sample(std::uint64_t, const std::string&) override {}
  void on_checkpoint(std::uint64_t) override {}
};

class ClusterRunTest : public ::testing::Test {
 protected:
  ClusterRunTest() { std::ofstream(folder_ / "text", std::ios::binary) << make_stories(3000, 7); }

  RunConfig config(const std::string& fitness) const {
    RunConfig c;
    c.data = {folder_ / "text"};
    c.dim = 8, c.population = 20, c.tokens_per_update = 8, c.steps = 6, c.fitness = fitness;
    c.sigma_shift = 4;
    c.validate_every = 0, c.checkpoint_every = 3, c.threads = 1, c.texts_per_pair = 1, c.group_size = 4;
    return c;
  }

  // The outcome of each rank; ranks take turns with the two backends.
  std::vector<Status> train(Threads& threads, int size, const std::string& run, const RunConfig& config,
                            bool resume = false) {
    std::vector<Status> outcomes(static_cast<std::size_t>(size));
    threads.run([&](Cluster& cluster) {
      RunConfig own = config;
      own.backend = cluster.rank() % 2 == 0 ? "reference" : "cpu";
      auto trainer = resume ? Trainer::resume(folder_ / run, own, cluster)
                            : Trainer::create(folder_ / run, own, cluster);
      Silent silent;
      const std::atomic<bool> stop = false;
      outcomes[static_cast<std::size_t>(cluster.rank())] =
          trainer.ok() ? trainer.value()->train(silent, stop) : trainer.status();
    });
    return outcomes;
  }

  void expect_ok(const std::vector<Status>& outcomes) {
    for (const Status& status : outcomes) EXPECT_TRUE(status.ok()) << status.message();
  }

  TempFolder folder_;
};

TEST_F(ClusterRunTest, SameLogAndStatesOnAnyNumberOfRanks) {
  const struct {
    const char *name, *fitness;
    int texts, group;
  } rows[] = {{"signs", "sign", 1, 4},
              {"differences", "scaled", 1, 4},
              {"groups", "grouped", 1, 4},
              {"two texts", "scaled", 2, 5},
              {"signs of two texts", "sign", 2, 2},
              {"groups of two texts", "grouped", 2, 5}};
  for (const auto& row : rows) {
    RunConfig c = config(row.fitness);
    c.texts_per_pair = row.texts, c.group_size = row.group;
    const std::string alone = std::string(row.name) + "1";
    for (const int size : kSizes) {
      const std::string run = row.name + std::to_string(size);
      Threads threads(size);
      expect_ok(train(threads, size, run, c));
      EXPECT_EQ(read_log(log_path(folder_ / run)).value().records,
                read_log(log_path(folder_ / alone)).value().records);
      const auto expected = read_last_checkpoint(folder_ / alone),
                 found = read_last_checkpoint(folder_ / run);
      EXPECT_EQ(found.value().states, expected.value().states);
      EXPECT_EQ(found.value().weights, expected.value().weights);
    }
  }
}

TEST_F(ClusterRunTest, GoesOnOnAnotherNumberOfRanks) {
  RunConfig c = config("scaled");
  c.steps = 11;
  Threads one(1), two(2), three(3);
  expect_ok(train(one, 1, "whole", c));
  c.steps = 4;
  expect_ok(train(three, 3, "parts", c));
  c.steps = 7;
  expect_ok(train(one, 1, "parts", c, true));
  c.steps = 11;
  expect_ok(train(two, 2, "parts", c, true));
  EXPECT_EQ(read_log(log_path(folder_ / "parts")).value().records,
            read_log(log_path(folder_ / "whole")).value().records);
}

// A rank whose weights go astray: at each step's exchange, and after the last update.
TEST_F(ClusterRunTest, AnOddRankEndsTheRun) {
  RunConfig c = config("sign");
  c.checkpoint_every = 0;
  for (const bool last : {false, true}) {
    SCOPED_TRACE(last ? "after the last update" : "in the middle");
    Threads threads(3);
    int steps_seen = 0;
    threads.tamper = [&](int rank, int, std::string& bytes) {
      if (rank != 2) return;
      if (bytes.size() == 16 && last && steps_seen == 6) bytes[0] = bytes[0] == '0' ? '1' : '0';
      if (bytes.size() != 25 + 1) return;  // neither a part of a step for 4 pairs
      if (++steps_seen == 3 && !last) bytes[1] = static_cast<char>(bytes[1] ^ 1);
    };
    const auto outcomes = train(threads, 3, last ? "last" : "middle", c);
    for (const Status& status : outcomes) {
      EXPECT_EQ(status.message().find("rank 2: its weights differ from rank 0's after step " +
                                      std::string(last ? "6" : "2")),
                0u)
          << status.message();
    }
    EXPECT_FALSE(has_checkpoint(folder_ / (last ? "last" : "middle")));
  }
}

TEST_F(ClusterRunTest, RanksMustHaveTheSameTextAndKnobs) {
  std::ofstream(folder_ / "other", std::ios::binary) << make_stories(3000, 8);
  const struct {
    const char* expected;
    std::function<void(RunConfig&)> change;
  } rows[] = {
      {"the digest of --data: rank 2 has ", [&](RunConfig& c) { c.data = {folder_ / "other"}; }},
      {"configuration: rank 2 has ", [](RunConfig& c) { c.alpha = "0.25"; }},
      {"configuration: rank 2 has ", [](RunConfig& c) { c.seed = 5; }},
      {"--steps: rank 2 has 7, rank 0 has 6", [](RunConfig& c) { c.steps = 7; }},
      {"rank 2: ", [&](RunConfig& c) { c.data = {folder_ / "nowhere"}; }},
  };
  for (const auto& row : rows) {
    Threads threads(3);
    std::vector<Status> outcomes(3);
    threads.run([&](Cluster& cluster) {
      RunConfig own = config("sign");
      if (cluster.rank() == 2) row.change(own);
      outcomes[static_cast<std::size_t>(cluster.rank())] =
          Trainer::create(folder_ / "refused", own, cluster).status();
    });
    for (int r = 0; r < 3; ++r) {
      const std::string message = outcomes[static_cast<std::size_t>(r)].message();
      EXPECT_FALSE(outcomes[static_cast<std::size_t>(r)].ok());
      if (r != 2) {
        EXPECT_EQ(message.find(row.expected), 0u) << message;
      }
    }
    EXPECT_FALSE(std::filesystem::exists(folder_ / "refused"));
  }
}

TEST_F(ClusterRunTest, MoreRanksThanPairsAreRefused) {
  RunConfig c = config("sign");
  c.population = 4;
  Threads threads(5);
  for (const Status& status : train(threads, 5, "run", c)) EXPECT_FALSE(status.ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

}  // namespace
}  // namespace clutch
