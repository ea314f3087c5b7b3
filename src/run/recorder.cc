#include "run/recorder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "exact/version.h"
#include "run/event_file.h"

namespace clutch {

// The kernel's lock on a folder. It ends with the process, however that ends.
class Recorder::Lock {
 public:
  explicit Lock(const std::string& folder)
      : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (folder_ >= 0) ::close(folder_);
  }
  // False where another process has it. Some network file systems know no locks: there, nobody is kept out.
  bool take() const { return ::flock(folder_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK; }

 private:
  const int folder_;
};

Status Recorder::lock() {
  lock_ = std::make_shared<Lock>(run_);
  if (lock_->take()) return {};
  return fail(run_, "is being trained by another process", "wait for its end, or end it");
}

LogHeader Recorder::header(std::uint64_t start_digest) const {
  return {exact::kSemanticVersion, population(config_).pairs(), *fitness_shape(config_.fitness),
          start_digest};
}

Result<std::unique_ptr<Recorder>> Recorder::create(const std::string& run, const RunConfig& config,
                                                   std::uint64_t start_digest) {
  CLUTCH_RETURN_IF_ERROR(create_run(run, config));
  auto recorder = std::unique_ptr<Recorder>(new Recorder(run, config));
  CLUTCH_RETURN_IF_ERROR(recorder->lock());
  CLUTCH_RETURN_IF_ERROR(recorder->new_log(start_digest));
  return recorder;
}

Result<std::unique_ptr<Recorder>> Recorder::reopen(const std::string& run, const RunConfig& config,
                                                   std::uint64_t step, std::uint64_t digest) {
  auto recorder = std::unique_ptr<Recorder>(new Recorder(run, config));
  CLUTCH_RETURN_IF_ERROR(recorder->lock());
  remove_temporaries(run);
  CLUTCH_RETURN_IF_ERROR(recorder->open_log(step, digest));
  CLUTCH_RETURN_IF_ERROR(cut_metrics(run, step));
  CLUTCH_RETURN_IF_ERROR(write_config(run, config));
  return recorder;
}

Status Recorder::new_log(std::uint64_t start_digest) {
  auto log = LogWriter::create(log_path(run_), header(start_digest));
  if (!log.ok()) return log.status();
  log_.emplace(std::move(log).value());
  return {};
}

Status Recorder::open_log(std::uint64_t step, std::uint64_t digest) {
  std::error_code error;
  // A run killed at its very start has no log, or not all of its header.
  const bool begun = std::filesystem::exists(log_path(run_), error) &&
                     std::filesystem::file_size(log_path(run_), error) >= kLogHeaderBytes;
  if (step == 0 && !begun) {
    std::filesystem::remove(log_path(run_), error);
    return new_log(digest);
  }
  auto read = read_log(log_path(run_));
  if (!read.ok()) return read.status();
  FitnessLog& log = read.value();
  if (log.header != header(log.header.start_digest)) {
    return fail(log_path(run_), "is of another run",
                "restore the fitness.log that belongs to " + config_path(run_));
  }
  if (log.records.size() < step) {
    return fail(log_path(run_),
                fmt::format("holds {} good steps, fewer than the checkpoint's {}{}", log.records.size(), step,
                            log.damage.ok() ? (log.torn.empty() ? "" : "; " + log.torn)
                                            : "; " + log.damage.message()),
                "restore it, or start a new run with --init " + run_);
  }
  const std::uint64_t expected = step == 0 ? log.header.start_digest : log.records[step - 1].digest;
  if (digest != expected) {
    return fail(log_path(run_),
                fmt::format("says digest {:016x} at step {}, the weights to go on from have {:016x}",
                            expected, step, digest),
                "the checkpoint, config.json and fitness.log are not of one run; restore them");
  }
  if (!log.torn.empty()) notes_.push_back(log.torn);
  if (!log.damage.ok()) notes_.push_back(log.damage.message() + "; the steps from there on are done again");
  auto writer = LogWriter::reopen(log_path(run_), log.header, log.good_bytes);
  if (!writer.ok()) return writer.status();
  log_.emplace(std::move(writer).value());
  logged_ = std::move(log.records);
  return {};
}

Status Recorder::record(const LogRecord& record) {
  if (record.step >= logged_.size()) return append(record);
  const LogRecord& earlier = logged_[record.step];
  if (record == earlier) return {};
  return fail(
      log_path(run_),
      fmt::format("step {} came out differently from what was logged: digest {:016x}, not {:016x}",
                  record.step + 1, record.digest, earlier.digest),
      "the text, the program or the machine is not what it was; `clutch audit` tells where it went wrong");
}

Status Recorder::append(const LogRecord& record) {
  const auto begin = std::chrono::steady_clock::now();
  CLUTCH_RETURN_IF_ERROR(log_->append(record));
  CLUTCH_RETURN_IF_ERROR(sync_log(config_.sync == "step"));
  log_cost_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  log_cost_.bytes += record_bytes(header(0));
  ++log_cost_.records;
  return {};
}

// Every second, beside the training: syncing may take longer than a step.
Status Recorder::sync_log(bool now) {
  if (syncing_.valid() && (now || syncing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready)) {
    CLUTCH_RETURN_IF_ERROR(syncing_.get());
  }
  if (now) return log_->sync();
  const auto time = std::chrono::steady_clock::now();
  if (syncing_.valid() || time - synced_ < std::chrono::seconds(1)) return {};
  synced_ = time;
  syncing_ = std::async(std::launch::async, [this] { return log_->sync(); });
  return {};
}

Status Recorder::append_metrics(const StepReport& report) {
  std::string line = fmt::format(
      R"({{"step": {}, "evaluated_tokens": {}, "distinct_tokens": {}, "bits_per_byte": {:.5f}, "moved": {:.6f}, "tied": {:.6f}, "seconds": {:.3f}, "core_seconds": {:.3f}, "digest": "{:016x}")",
      report.step, report.evaluated_tokens, report.distinct_tokens, report.bits_per_byte, report.moved,
      report.tied, report.seconds, report.core_seconds, report.digest);
  if (report.valid_bits_per_byte)
    line += fmt::format(R"(, "valid_bits_per_byte": {:.5f})", *report.valid_bits_per_byte);
  if (report.sample) {
    line += ", \"sample\": " +
            nlohmann::json(*report.sample).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  if (report.inspection) line += ", \"inspection\": " + to_json_line(*report.inspection);
  line += "}\n";
  CLUTCH_RETURN_IF_ERROR(append_to(metrics_path(run_), line));
  return config_.tensorboard == 0 ? Status() : append_events(report);
}

Status Recorder::append_events(const StepReport& report) {
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  if (events_.empty()) {
    auto path = create_event_file(run_ + "/tensorboard", now);
    if (!path.ok()) return path.status();
    events_ = path.value();
  }
  StepEvents events{.step = report.step,
                    .wall_seconds = now,
                    .scalars = {{"bits/with noise", report.bits_per_byte},
                                {"share/moved", report.moved},
                                {"share/tied", report.tied},
                                {"evaluated tokens", static_cast<double>(report.evaluated_tokens)}},
                    .histograms = {},
                    .texts = {}};
  if (report.valid_bits_per_byte) events.scalars.emplace_back("bits/held out", *report.valid_bits_per_byte);
  if (report.sample) events.texts.emplace_back("sample", *report.sample);
  if (report.inspection) {
    for (const TensorReport& t : report.inspection->tensors) {
      events.histograms.emplace_back("weights/" + t.name, t.numbers.histogram());
      events.scalars.emplace_back("entropy/" + t.name, t.numbers.entropy());
    }
    for (const InstructionReport& i : report.inspection->instructions) {
      events.histograms.emplace_back("results/" + i.slot, i.numbers.histogram());
      for (std::size_t h = 0; h < i.heads.size(); ++h)
        events.scalars.emplace_back(fmt::format("attention/{} head {}", i.slot, h), i.heads[h].share());
    }
  }
  return append_to(events_, encode_events(events));
}

Status Recorder::append_to(const std::string& path, std::string_view bytes) const {
  std::FILE* file = std::fopen(path.c_str(), "ab");
  const bool written = file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const bool closed = file != nullptr && std::fclose(file) == 0;
  if (written && closed) return {};
  return fail(path, std::string("cannot be written: ") + std::strerror(errno),
              fmt::format("make room, then go on with: clutch train --resume {}", run_));
}

Status Recorder::sync_metrics() const {
  const int file = ::open(metrics_path(run_).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 && errno == ENOENT) return {};  // before the first step
  const bool synced = file >= 0 && ::fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) ::close(file);
  if (synced) return {};
  return fail(metrics_path(run_), std::string("cannot be forced to the disk: ") + std::strerror(reason),
              fmt::format("check the disk, then go on with: clutch train --resume {}", run_));
}

Status Recorder::save(const Program& program, const Checkpoint& checkpoint) {
  CLUTCH_RETURN_IF_ERROR(sync_log(true));
  CLUTCH_RETURN_IF_ERROR(sync_metrics());
  return write_checkpoint(run_, program, checkpoint, config_.population, config_.keep);
}

}  // namespace clutch
