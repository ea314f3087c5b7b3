// A pack is the run, whole or refused.
#include <xxhash.h>
#include <zstd.h>

#include "base/bytes.h"
#include "run/recorded_run.h"

namespace clutch {
namespace {

using PackTest = RecordedRunTest;

TEST_F(PackTest, APackIsTheRun) {
  for (const char* fitness : {"sign", "scaled"}) {
    RunConfig c = config();
    c.fitness = fitness, c.alpha = "1.5";
    train(fitness, c);
    const Recording recording = read_recording(run_path(fitness)).value();
    const auto bytes = pack(recording);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    const auto again = unpack(bytes.value(), "a pack");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(to_json(again.value().config), to_json(recording.config));
    EXPECT_EQ(again.value().log.header, recording.log.header);
    EXPECT_EQ(again.value().log.records, recording.log.records);
    EXPECT_EQ(again.value().corpus_digest, recording.corpus_digest);
    EXPECT_NE(again.value().corpus_digest, "");

    write_bytes(folder_ / "run.clutch", bytes.value());
    EXPECT_EQ(replay_path(folder_ / "run.clutch", 10, 10), "ok");
    const auto audited = audit_path(folder_ / "run.clutch", {}, true);
    ASSERT_TRUE(audited.ok());
    EXPECT_EQ(audited.value().compared, 60u);
    EXPECT_TRUE(audited.value().findings.empty());
  }
}

TEST_F(PackTest, EveryFlipAndCutOfAPackIsFound) {
  train("run", config());
  const std::string bytes = pack(read_recording(run_path("run")).value()).value();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int bit : {0, 7}) EXPECT_FALSE(unpack(flipped(bytes, i, bit), "a pack").ok()) << i;
    EXPECT_FALSE(unpack(bytes.substr(0, i), "a pack").ok()) << i;
  }
  EXPECT_FALSE(unpack(bytes + '\0', "a pack").ok());
}

// A pack whose checksum is right over whatever it holds.
std::string sealed_pack(const std::string& plain) {
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 19));
  std::string file = "CLUTCHPK";
  put_little_endian(file, XXH3_64bits(packed.data(), packed.size()), 8);
  return file + packed;
}

TEST_F(PackTest, PacksOfSomethingElseAreRefused) {
  train("run", config());
  const std::string log = bytes_of(log_path(run_path("run")));
  const std::string config_text = to_json(read_config(run_path("run")).value());
  std::string one_line = config_text;
  std::erase(one_line, '\n');
  const std::string good = R"({"corpus_digest": "", "config": )" + one_line + "}\n";
  const auto message = [](const std::string& plain) {
    const auto recording = unpack(sealed_pack(plain), "a pack");
    return recording.ok() ? "accepted" : recording.status().message();
  };
  EXPECT_EQ(message(good + log), "accepted");
  expect_contains(message(""), "no configuration");
  expect_contains(message("\n" + log), "no configuration");
  expect_contains(message("{}\n" + log), "no configuration");
  expect_contains(message("[1]\n" + log), "no configuration");
  expect_contains(message(std::string(100000, '[') + "\n" + log), "no configuration");
  expect_contains(message(R"({"config": 3, "corpus_digest": ""})"
                          "\n" +
                          log),
                  "a pack");
  expect_contains(message(R"({"config": {"dim": "x"}, "corpus_digest": ""})"
                          "\n" +
                          log),
                  "dim");
  expect_contains(message(R"({"config": {}, "corpus_digest": 3})"
                          "\n" +
                          log),
                  "no configuration");
  expect_contains(message(R"({"config": {"data": ["x"]}, "corpus_digest": ""})"
                          "\n" +
                          log),
                  "pairs");
  expect_contains(message(good), "no fitness log");
  expect_contains(message(good + log.substr(0, log.size() - 1)), "cut off");
  expect_contains(message(good + flipped(log, 60)), "damaged");
}

TEST_F(PackTest, ABombIsRefused) {
  const std::string bomb = sealed_pack(std::string(std::size_t{200} << 20, '\0'));
  EXPECT_LT(bomb.size(), 30000u);
  const auto recording = unpack(bomb, "a bomb");
  ASSERT_FALSE(recording.ok());
  expect_contains(recording.status().message(), "a bomb: decompresses to more than ");
}

}  // namespace
}  // namespace clutch
