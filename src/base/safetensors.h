// The safetensors file format, for tensors of int8 and int32: an 8-byte little-endian header length, a JSON
// header with each tensor's dtype, shape and place, then the tensors' bytes. Nothing in a file is trusted:
// every length, count and offset is checked before it is used, so a file that is damaged, foreign or hostile
// is a Status.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/tensor.h"

namespace clutch {

struct SafetensorsFile {
  std::vector<Tensor> tensors;                  // in the order of their bytes in the file
  std::map<std::string, std::string> metadata;  // the header's "__metadata__"

  bool operator==(const SafetensorsFile&) const = default;
};

// Parses a whole file held in memory. `name` stands for it in failures. Refused are files of other formats,
// headers of more than 100 MB or with anything but the format's fields, dtypes other than I8 and I32, names
// given twice, and tensors that do not fill the data exactly, without gaps, overlaps or trailing bytes.
Result<SafetensorsFile> parse_safetensors(std::string_view bytes, const std::string& name);

// The same for a file on disk. Holds the header and the tensors in memory, never the file besides them.
Result<SafetensorsFile> read_safetensors(const std::string& path);

// The bytes before the tensors' data: the length and the JSON, padded with spaces to a multiple of 8 bytes.
// Metadata comes first, sorted by key, then the tensors as given; the same file gives the same bytes. Names
// must be distinct and other than "__metadata__", and data must fill shapes (else it aborts). Fails, naming
// `name`, if a string is not UTF-8 or if the header would be too long to be read back.
Result<std::string> safetensors_header(const SafetensorsFile& file, const std::string& name);

// Writes the header and the tensors' data, atomically (see write_file_atomically). Requires and fails as
// safetensors_header does.
Status write_safetensors(const std::string& path, const SafetensorsFile& file);

}  // namespace clutch
