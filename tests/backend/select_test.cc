// Choosing a backend: forced means forced, and what is not there is refused with a list of what is.
#include "backend/select.h"

#include <gtest/gtest.h>

#include <set>

#include "backend/cpu/isa_list.h"
#include "models/model.h"

namespace clutch {
namespace {

TEST(Select, EveryPresentBackendAnswersToItsName) {
  for (const BackendEntry& entry : list_backends()) {
    auto made = make_backend(entry.name, 1);
    EXPECT_EQ(made.ok(), entry.unavailable.empty()) << entry.name;
    if (made.ok()) {
      EXPECT_EQ(made.value()->name(), entry.name);
    } else {
      EXPECT_NE(made.status().message().find(entry.name), std::string::npos);
      EXPECT_NE(made.status().message().find("cpu:scalar"), std::string::npos) << "lists those present";
    }
  }
}

// A backend's name is its table's, so with this the one that was asked for is the one that runs: tables share
// no function, each translation unit has its own.
TEST(Select, InstructionSetsShareNoKernel) {
  std::set<const void*> kernels;
  std::size_t count = 0;
  for (const cpu::Isa& isa : cpu::instruction_sets()) {
    if (*isa.missing() != 0) continue;
    const cpu::Kernels& table = isa.kernels();
    EXPECT_STREQ(table.name, isa.name);
    EXPECT_EQ(cpu::find_kernels(isa.name).value(), &table);
    for (const void* kernel :
         {reinterpret_cast<const void*>(table.matmul), reinterpret_cast<const void*>(table.norm),
          reinterpret_cast<const void*>(table.vote), reinterpret_cast<const void*>(table.fill_noise)}) {
      kernels.insert(kernel);
      ++count;
    }
  }
  EXPECT_EQ(kernels.size(), count);
}

TEST(Select, TheFamilyIsItsFastestMember) {
  std::string last;
  for (const cpu::Isa& isa : cpu::instruction_sets()) {
    if (*isa.missing() == 0) last = std::string("cpu:") + isa.name;
  }
  EXPECT_EQ(make_backend("cpu", 1).value()->name(), last);
}

// Families of devices are listed by name where there is none of them, and asking for one says why.
TEST(Select, ADeviceThatIsNotThereIsRefusedWithTheReason) {
  const auto entries = list_backends();
  for (const std::string family : {"cuda", "hip"}) {
    std::size_t found = 0;
    for (const BackendEntry& entry : entries) {
      if (entry.name == family + ":0") ++found;
      if (entry.name != family) continue;
      ++found;
      ASSERT_FALSE(entry.unavailable.empty());
      for (const char* index : {"", ":0", ":7"}) {
        const auto made = make_backend(family + index, 1);
        ASSERT_FALSE(made.ok());
        EXPECT_NE(made.status().message().find(entry.unavailable), std::string::npos)
            << made.status().message();
        EXPECT_NE(made.status().message().find("cpu:scalar"), std::string::npos) << "lists those present";
      }
    }
    EXPECT_EQ(found, 1u) << family;
  }
}

TEST(Select, UnknownNamesAndThreadsAreRefused) {
  auto unknown = make_backend("cpu:avx9", 1);
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("cpu:scalar"), std::string::npos);
  EXPECT_TRUE(make_backend("cpu", 0).ok()) << "0 is for default_threads()";
  EXPECT_FALSE(make_backend("cpu", -1).ok());
  EXPECT_FALSE(make_backend("cpu", 1025).ok());
}

// The fastest that can run the program, and never the one that computes nothing.
TEST(Select, AutoIsTheFastestThatCan) {
  const Program program = build_program(ModelConfig(), NoiseShape()).value();
  const auto all = suitable_backends(program, NoiseShape());
  ASSERT_EQ(all.size(), list_backends().size());
  EXPECT_EQ(all.back().name, "null");
  EXPECT_FALSE(all.back().automatic);
  std::string chosen;
  for (const Suitability& one : all) {
    if (!one.automatic) continue;
    EXPECT_EQ(chosen, "") << "one alone";
    EXPECT_EQ(one.why_not, "");
    chosen = one.name;
  }
  for (const Suitability& one : all) {
    if (one.name == chosen) break;
    EXPECT_NE(one.why_not, "") << "faster, and yet not chosen: " << one.name;
  }
  EXPECT_EQ(make_backend_for(program, NoiseShape(), "auto", 1).value()->name(), chosen);
  EXPECT_FALSE(make_backend_for(program, NoiseShape(), "auto", -1).ok());
  EXPECT_FALSE(make_backend_for(program, NoiseShape(), "cpu:avx9", 1).ok());
}

TEST(Select, DefaultThreadsAreAtLeastOne) { EXPECT_GE(default_threads(), 1); }

TEST(Select, QuotasRoundUpAndMaxIsNone) {
  EXPECT_EQ(threads_of_quota("max 100000"), 0);
  EXPECT_EQ(threads_of_quota("150000 100000\n"), 2);
  EXPECT_EQ(threads_of_quota("10000 100000"), 1);
  EXPECT_EQ(threads_of_quota(""), 0);
  EXPECT_EQ(threads_of_quota("-1 100000"), 0);
}

}  // namespace
}  // namespace clutch
