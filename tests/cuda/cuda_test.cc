// What is the GPU backend's own, on emulated devices: every size of tile, launches, refusals, memory that
// runs out, a device that is lost, and the bus. That it computes what the reference does is tested with the
// tests of backend/.
#include "backend/cuda/cuda.h"

#include <gtest/gtest.h>

#include <set>

#include "backend/cuda/plan.h"
#include "backend/random_program.h"
#include "backend/reference/reference.h"
#include "cuda/emulated.h"
#include "models/model.h"
#include "run/plan.h"

namespace clutch::cuda {
namespace {

using testing::Random;

// Counts bytes and keeps the tile of the last evaluation.
class Watched : public Before {
 public:
  using Before::Before;
  Status upload(void* to, const void* from, std::uint64_t bytes) override {
    copied += bytes;
    return Before::upload(to, from, bytes);
  }
  Status download(void* to, const void* from, std::uint64_t bytes) override {
    copied += bytes;
    return Before::download(to, from, bytes);
  }
  Result<std::uint32_t> resident_blocks(const TileShape& tile) override {
    tile_members = tile.members;
    return Before::resident_blocks(tile);
  }
  std::uint64_t copied = 0;
  std::uint32_t tile_members = 0;
};

struct Opened {
  std::unique_ptr<Backend> backend;
  Watched* device;
};
Opened open(const Vendor& vendor) {
  auto watched = std::make_unique<Watched>(vendor.open(0).value());
  Watched* device = watched.get();
  return {make_cuda_backend(std::move(watched)), device};
}

Program small_egg() { return build_program({.dim = 24, .layers = 1, .vocab = 11}, {}).value(); }

// A window of everything that a run asks for.
struct Window {
  Window(Random& random, const Program& program, std::uint32_t members, std::uint32_t length)
      : text(testing::random_text(random, std::size_t{3} * (length + 1), program.vocab)), losses(members) {
    for (std::uint32_t m = 0; m < members; ++m) stream_of.push_back(m % 3);
    request = {.noise = NoiseSource{.seed = 4, .epoch = 2, .first_pair = 7},
               .length = length,
               .text = text,
               .stream_of = stream_of,
               .states = nullptr};
  }
  Status run(Backend& backend) { return backend.evaluate(request, {.losses = losses, .logits = {}}); }
  std::vector<std::uint16_t> text;
  std::vector<std::uint32_t> stream_of;
  std::vector<std::int64_t> losses;
  EvaluateRequest request;
};

class Cuda : public ::testing::TestWithParam<Emulated> {
 protected:
  void SetUp() override { shim::settings = {}; }
  void TearDown() override {
    shim::settings = {};
    EXPECT_EQ(shim::allocated_bytes, 0u) << "memory of the device was not given back";
  }
};

// Populations from one tile of 16 to several of 128, whole and not, on one processor and on many.
TEST_P(Cuda, EveryTileEqualsTheReference) {
  Random random(21);
  const Program program = small_egg();
  const Weights weights = testing::random_weights(random, program);
  std::set<std::uint32_t> tiles;
  for (const std::uint32_t members : {2u, 18u, 40u, 90u, 120u, 150u}) {
    Window window(random, program, members, 3);
    auto reference = make_reference_backend();
    ASSERT_TRUE(reference->load(program, {}, weights).ok());
    ASSERT_TRUE(window.run(*reference).ok());
    const auto expected = window.losses;
    for (const std::uint32_t processors : {1u, 3u}) {
      shim::settings.processors = processors;
      const Opened opened = open(GetParam().vendor());
      ASSERT_TRUE(opened.backend->load(program, {}, weights).ok());
      ASSERT_TRUE(window.run(*opened.backend).ok());
      EXPECT_EQ(window.losses, expected) << members << " members, " << processors << " processors";
      tiles.insert(opened.device->tile_members);
    }
  }
  EXPECT_EQ(tiles, (std::set<std::uint32_t>{16, 32, 64, 96, 128}));
}

// The sizes docs/BACKENDS.md counts with: egg D=256 L=6 on devices as large as an H100 and an A100.
TEST(Tile, IsOneOfTheFewestRoundsThatFits) {
  const Program program = build_program({.dim = 256, .layers = 6}, {}).value();
  const Plan plan = make_plan(program, {}, verify(program, {}).value());
  Facts facts;
  facts.shared_bytes = 227 << 10;
  facts.processors = 132;
  facts.warp = 32;
  facts.row_tiles = 8;
  facts.evaluate_threads = 512;
  const auto tile = [&](std::uint32_t members) { return choose_tile(plan.layout, 1, facts, members); };
  EXPECT_EQ(tile(65536).members, 128u) << "four rounds";
  EXPECT_EQ(tile(65536).bytes, 207360u);
  EXPECT_EQ(tile(2).members, 16u);
  EXPECT_EQ(tile(132 * 16).members, 16u);
  EXPECT_EQ(tile(132 * 40).members, 64u);
  EXPECT_EQ(tile(132 * 66).members, 96u);
  EXPECT_EQ(tile(132 * 130).members, 96u) << "two rounds, as with 128";
  facts.shared_bytes = 163 << 10;
  facts.processors = 108;
  EXPECT_EQ(tile(65536).members, 96u) << "128 do not fit";
}

// Whatever the sizes: one launch for a window, five for an update.
TEST_P(Cuda, FewLaunchesAndFewBytesOnTheBus) {
  for (const std::int64_t layers : {1, 3}) {
    for (const std::uint32_t members : {8u, 80u}) {
      Random random(3);
      const Program program = build_program({.dim = 16, .layers = layers, .vocab = 9}, {}).value();
      const Opened opened = open(GetParam().vendor());
      ASSERT_TRUE(opened.backend->load(program, {}, testing::random_weights(random, program)).ok());
      const auto states = opened.backend->new_states(members).value();
      Window window(random, program, members, 5);
      window.request.states = states.get();
      const std::uint64_t launches = opened.device->launches(), copied = opened.device->copied;
      ASSERT_TRUE(window.run(*opened.backend).ok());
      const std::vector<std::int8_t> fitness(members / 2, 1);
      ASSERT_TRUE(
          opened.backend->update({.noise = {.seed = 4}, .fitness = fitness, .matrix = {}, .vector = {}})
              .ok());
      EXPECT_EQ(opened.device->launches() - launches, 6u);
      const std::uint64_t text = window.text.size() * 2 + members * 4, losses = members * 8;
      EXPECT_EQ(opened.device->copied - copied, text + losses + fitness.size() + sizeof(UpdateResults));
    }
  }
}

TEST_P(Cuda, DeclinesATileThatDoesNotFit) {
  shim::settings.shared_bytes = 20000;
  const Opened opened = open(GetParam().vendor());
  const Program large = build_program({.dim = 256, .layers = 1}, {}).value();
  const std::string message = opened.backend->supports(large, {}).message();
  EXPECT_NE(message.find("bytes of shared memory"), std::string::npos) << message;
  EXPECT_NE(message.find("20000"), std::string::npos) << message;
  EXPECT_NE(message.find("--backend cpu"), std::string::npos) << message;
  EXPECT_FALSE(opened.backend->load(large, {}, initial_weights(large, 1)).ok());
  EXPECT_TRUE(opened.backend->supports(small_egg(), {}).ok());
}

TEST_P(Cuda, WithoutDevicesItSaysWhyAndWhatToDo) {
  const auto problem = [&] {
    std::string why;
    EXPECT_EQ(GetParam().vendor().count(why), 0);
    return why;
  };
  std::string none;
  EXPECT_EQ(GetParam().vendor().count(none), 2);
  EXPECT_EQ(none, "");
  shim::settings.devices = 0;
  EXPECT_EQ(problem(), "there is no device of the emulation");
  shim::settings.driver = 11;
  EXPECT_EQ(problem(), "its driver, for shim 11, is too old: update it to one for shim 12");
  shim::settings.driver = 0;
  EXPECT_EQ(problem(), "there is no driver: install that of the emulation");
}

TEST_P(Cuda, ADeviceThatIsTooOldIsRefused) {
  const auto message = [&] { return GetParam().vendor().open(1).status().message(); };
  EXPECT_EQ(message(), "ok");
  shim::settings.major = 7, shim::settings.minor = 5;
  EXPECT_EQ(
      message(),
      "shim:1: an emulation (capability 7.5) is too old: capability 8.0 or later is needed; use another "
      "backend: clutch info lists those that run here");
  shim::settings.major = 9;
  shim::settings.has_kernels = false;
  EXPECT_EQ(message(),
            "shim:1: an emulation (capability 9.5) runs none of the kernels, which are for an emulation: no "
            "kernel image; capability 8.0 or later is needed, or a newer driver; use another backend: clutch "
            "info lists those that run here");
}

TEST_P(Cuda, SaysWhatFillsTheMemory) {
  shim::settings.memory_bytes = 1 << 20;
  const Opened opened = open(GetParam().vendor());
  const Program program = small_egg();
  ASSERT_TRUE(opened.backend->load(program, {}, initial_weights(program, 1)).ok());
  const auto states = opened.backend->new_states(1 << 20);
  ASSERT_FALSE(states.ok());
  const std::string message = states.status().message();
  for (const char* part : {"64 MiB of states", "weights 1 MiB", "1 MiB free", "--population"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

std::int64_t bytes_of(const std::vector<MemoryPart>& parts, const std::string& what) {
  for (const MemoryPart& part : parts) {
    if (part.what == what) return part.bytes;
  }
  return -1;
}

// Of steps of each kind, all that the device gave.
TEST_P(Cuda, TheMemoryPlanIsWhatTrainingTakes) {
  for (const bool carries : {false, true}) {
    for (const exact::Rule rule : {exact::Rule::threshold, exact::Rule::adamw}) {
      Random random(6);
      const ModelConfig config{.arch = "transformer", .dim = 64, .layers = 1, .vocab = 40, .window = 9};
      const Program program = build_program(config, {}).value();
      const Opened opened = open(GetParam().vendor());
      const Workload workload{.noise = {.rank = 2},
                              .rule = rule,
                              .members = 70,
                              .pairs = 90,
                              .streams = 3,
                              .length = 4,
                              .carries = carries};
      const MemoryPlan plan = opened.backend->plan(program, workload).value()[0];
      EXPECT_EQ(plan.place, opened.backend->name());
      EXPECT_EQ(plan.available_bytes, static_cast<std::int64_t>(shim::settings.memory_bytes));
      const Weights weights = initial_weights(program, 1);
      ASSERT_TRUE(opened.backend->load(program, workload.noise, weights, {rule, {}}).ok());
      const auto states = carries ? opened.backend->new_states(workload.members).value() : nullptr;
      Window window(random, program, workload.members, workload.length);
      window.request.states = states.get();
      ASSERT_TRUE(window.run(*opened.backend).ok());
      const std::vector<std::int8_t> fitness(workload.pairs, 1);
      exact::RuleStep step;
      step.rule = rule;
      ASSERT_TRUE(
          opened.backend->update({.noise = {}, .fitness = fitness, .matrix = step, .vector = step}).ok());
      EXPECT_NEAR(static_cast<double>(plan.total()), static_cast<double>(shim::allocated_bytes), 8)
          << "but for empty buffers' bytes";
      EXPECT_EQ(bytes_of(plan.parts, "rule"), rule == exact::Rule::adamw ? 12 * program.parameters() : 0);
    }
  }
}

TEST_P(Cuda, TooLittleMemoryIsRefusedBeforeARunWithThePlan) {
  const Program program = small_egg();
  const Workload workload{.members = 1 << 16, .pairs = 1 << 15, .carries = true};
  const auto plans = [&](std::uint64_t memory_bytes) {
    shim::settings.memory_bytes = memory_bytes;
    return plan_memory(*open(GetParam().vendor()).backend, program, workload, 1000).value();
  };
  const auto needed = static_cast<std::uint64_t>(plans(1 << 30).back().total());
  EXPECT_TRUE(check_memory(plans(needed)).ok());
  const std::string message = check_memory(plans(needed - 1)).message();
  for (const char* part :
       {"memory: shim:0 about 5", "weights 0", "votes 0", "rule 0", "states 4", "noise 0",
        "text and losses 0", "available: it does not fit", "--population", "--backend cpu"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST_P(Cuda, ALostDeviceIsAStatusWithTheWayOn) {
  Random random(5);
  const Program program = small_egg();
  const Opened opened = open(GetParam().vendor());
  ASSERT_TRUE(opened.backend->load(program, {}, initial_weights(program, 1)).ok());
  Window window(random, program, 4, 3);
  ASSERT_TRUE(window.run(*opened.backend).ok());
  shim::settings.lost_after = 0;
  const std::string message = window.run(*opened.backend).message();
  EXPECT_NE(message.find("the device is lost"), std::string::npos) << message;
  EXPECT_NE(message.find("--resume"), std::string::npos) << message;
  const std::vector<std::int8_t> fitness(2, 1);
  EXPECT_FALSE(opened.backend->update({.noise = {}, .fitness = fitness, .matrix = {}, .vector = {}}).ok());
}

INSTANTIATE_TEST_SUITE_P(Emulated, Cuda, ::testing::ValuesIn(kEmulated),
                         [](const auto& test) { return std::string(test.param.name); });

// The emulation itself: a thread that stays away from a barrier is found out.
TEST(Shim, ABarrierThatNotAllReachAborts) {
  const auto stray = [](const void*) {
    if (shim::thread_index.x != 3) shim::block_barrier();
  };
  EXPECT_DEATH(shim::run_grid({1, 64, 32, 16}, stray, nullptr), "same barrier");
  const auto alone = [](const void*) {
    if (shim::thread_index.x == 3) shim::exchange(nullptr, 0);
  };
  EXPECT_DEATH(shim::run_grid({1, 64, 32, 16}, alone, nullptr), "same barrier");
  const auto beyond = [](const void*) { shim::shared_memory()[20] = 1; };
  EXPECT_DEATH(shim::run_grid({1, 1, 1, 16}, beyond, nullptr), "guard");
}

}  // namespace
}  // namespace clutch::cuda
