// Rules that remember: their memory is part of a run as the weights are. It comes back from checkpoints, from
// replays and for audits, and a run whose memory is missing, damaged or of another rule is refused by name.
#include "run/recorded_run.h"

namespace clutch {
namespace {

class RuleTest : public RecordedRunTest {
 protected:
  RunConfig momentum() const {
    RunConfig c = config();
    c.rule = "momentum", c.rate = "4", c.layers = 2, c.fitness = "scaled";
    return c;
  }
};

TEST_F(RuleTest, MemoryOfEveryStepOnEveryBackend) {
  RunConfig c = momentum();
  c.checkpoint_every = 1, c.keep = 100;
  train("run", c);
  for (const char* backend : {"reference", "cpu"}) {
    Opened o = open(run_path("run"), backend);
    for (const std::uint64_t from : {1, 4, 10}) {
      const Standpoint standpoint = nearest_standpoint(o.recording, o.program, from).value();
      EXPECT_EQ(standpoint.memory.state.size(), 2u);
      const Status status = replay(o.recording, o.program, standpoint, 10, *o.backend, kNoProgress);
      ASSERT_TRUE(status.ok()) << status.message();
      Weights weights;
      RuleState state;
      ASSERT_TRUE(o.backend->read_weights(weights, &state).ok());
      const Checkpoint last = read_last_checkpoint(run_path("run")).value();
      EXPECT_EQ(weights, last.weights);
      EXPECT_EQ(state, last.memory.state);
      EXPECT_NE(state[0][0], std::vector<std::int32_t>(state[0][0].size()));
    }
  }
}

TEST_F(RuleTest, AResumeEndsWithTheSameFiles) {
  for (const std::string rule : {"threshold", "momentum", "carry", "adamw"}) {
    SCOPED_TRACE(rule);
    RunConfig c = momentum();
    c.rule = rule, c.schedule = "cosine", c.warmup = 3, c.weight_decay = "0.01";
    train(rule, c);
    c.steps = 6, c.schedule_steps = 10;
    train(rule + " in parts", c);
    EXPECT_EQ(resume(rule + " in parts", 10), "ok");
    EXPECT_EQ(bytes_of(log_path(run_path(rule + " in parts"))), bytes_of(log_path(run_path(rule))));
    const Checkpoint whole = read_last_checkpoint(run_path(rule)).value(),
                     parts = read_last_checkpoint(run_path(rule + " in parts")).value();
    EXPECT_EQ(parts.weights, whole.weights);
    EXPECT_EQ(parts.memory.state, whole.memory.state);
    fs::remove_all(run_path(rule + " in parts") + "/checkpoints");
    EXPECT_EQ(replay_path(run_path(rule + " in parts"), 0, 10), "ok") << "from the start the memory is zero";
  }
}

TEST_F(RuleTest, AuditsAndPacks) {
  train("run", momentum());
  const auto whole = audit_path(run_path("run"), {}, true);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  EXPECT_EQ(whole.value().compared, 60u);
  EXPECT_TRUE(whole.value().findings.empty());
  const auto sampled = audit_path(run_path("run"), {{9, 3}}, false, "reference");
  ASSERT_TRUE(sampled.ok()) << sampled.status().message();
  write_bytes(run_path("packed"), pack(open_recording(run_path("run")).value()).value());
  EXPECT_EQ(replay_path(run_path("packed"), 0, 10), "ok");
}

TEST_F(RuleTest, AnotherRuleIsRefused) {
  train("run", momentum());
  for (const char* other : {"threshold", "momentum"}) {
    copy("run", "changed");
    RunConfig c = read_config(run_path("run")).value();
    c.rule = other;
    ASSERT_TRUE(write_config(run_path("changed"), c).ok());
    if (c.rule == "momentum") {
      EXPECT_EQ(resume("changed", 12), "ok");
      continue;
    }
    expect_contains(resume("changed", 12),
                    "asks for the rule 'threshold', but the last checkpoint is of 'momentum'");
    expect_contains(resume("changed", 12), "--init");
    expect_contains(replay_path(run_path("changed"), 10, 10), "is of the rule 'momentum'");
    fs::remove_all(run_path("changed") + "/checkpoints");
    expect_contains(replay_path(run_path("changed"), 0, 10), "after step 1 the digest is ");
  }
}

TEST_F(RuleTest, ADamagedMemoryIsRefusedByName) {
  train("run", momentum());
  const std::string path = checkpoint("run", 10);
  const SafetensorsFile good = read_safetensors(path).value();
  const auto tensor = [](SafetensorsFile& file, const std::string& name) {
    return std::find_if(file.tensors.begin(), file.tensors.end(),
                        [&](const Tensor& t) { return t.name == name; });
  };
  const struct {
    std::function<void(SafetensorsFile&)> damage;
    const char* message;
  } rows[] = {
      {[&](auto& f) { f.tensors.erase(tensor(f, "emb.momentum")); }, "tensor 'emb.momentum', which the rule"},
      {[&](auto& f) { f.tensors.erase(tensor(f, "blocks.ln1.weight.fraction")); },
       "tensor 'blocks.ln1.weight.fraction', which the rule"},
      {[&](auto& f) { tensor(f, "head.momentum")->data[0] ^= 1; }, "what its rule remembers"},
      {[&](auto& f) { tensor(f, "head.fraction")->data[3] = 1; }, "beyond -8388608..8388608"},
      {[&](auto& f) { f.metadata.erase("rule_digest"); }, "what its rule remembers"},
      {[&](auto& f) { f.metadata["rule"] = "sgd"; }, "its rule 'sgd' is unknown"},
      {[&](auto& f) { f.metadata.erase("rule"); }, "but the last checkpoint is of 'threshold'"},
      {[&](auto& f) {
         Tensor& t = *tensor(f, "ln_out.weight.momentum");
         t.type = ElementType::kInt8, t.shape = {32};
       },
       "tensor 'ln_out.weight.momentum' is of int8, not int32"},
      {[&](auto& f) {
         tensor(f, "ln_out.weight.momentum")->shape = {1, 8};
       },
       "has shape [1, 8], not [8]"},
      {[](auto&) {}, "ok"},
  };
  for (const auto& row : rows) {
    SafetensorsFile file = good;
    row.damage(file);
    ASSERT_TRUE(write_safetensors(path, file).ok());
    expect_contains(resume("run", 11), row.message);
  }
}

TEST_F(RuleTest, ACheckpointFromBeforeThereWereRules) {
  RunConfig c = config();
  c.rule = "threshold";
  train("run", c);
  SafetensorsFile old = read_safetensors(checkpoint("run", 10)).value();
  old.metadata.erase("rule");
  ASSERT_TRUE(write_safetensors(checkpoint("run", 10), old).ok());
  EXPECT_EQ(resume("run", 11), "ok");
}

}  // namespace
}  // namespace clutch
