// The transformer architecture: the int8 transformer of egg.c (Int8NativeFormer) with all rescaling in
// integers. docs/NUMERICS.md writes its formulas out and says where it departs from egg.c.
#pragma once

#include <optional>

#include "models/model.h"

namespace clutch {

Status check_transformer(const ModelConfig& config);
Program build_transformer(const ModelConfig& config);

// Recognises the tensor names that clutch writes; metadata "window" of the file is taken over, and is
// kDefaultWindow where there is none.
std::optional<ModelConfig> infer_transformer(const SafetensorsFile& file);

}  // namespace clutch
