// The text of a run: what it learns from and what it holds out.
#pragma once

#include "data/corpus.h"
#include "run/config.h"

namespace clutch {

struct TrainingText {
  Corpus train;
  Corpus held_out;  // empty where nothing is held out
};

// Loads a resolved configuration's --data and --valid, or splits --data by --valid-fraction. Fails, naming
// the file or flag, on what cannot be read, and where the text is shorter than a window.
Result<TrainingText> load_training_text(const RunConfig& config);

}  // namespace clutch
