// The safetensors format: golden bytes, round trips through memory and disk, and every refusal word for word.
#include "base/safetensors.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/temp_folder.h"

namespace clutch {
namespace {

const std::string kDamaged = "; the file is damaged or badly written; copy or export it again";
const std::string kTruncated = "; the file is truncated or not safetensors; copy it again";

std::string length_bytes(std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

// The bytes of a file with this header and `data_bytes` bytes of data, whose values count up from 0.
std::string file_bytes(const std::string& header, int data_bytes = 0) {
  std::string bytes = length_bytes(header.size()) + header;
  for (int i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i);
  return bytes;
}

// The message for these bytes, less the name; the same from memory and from disk.
std::string refusal(const std::string& bytes) {
  const std::string message = parse_safetensors(bytes, "m").status().message();
  const TempFolder folder;
  const std::string path = folder / "m";
  EXPECT_TRUE(write_file_atomically(path, bytes).ok());
  const std::string disk_message = read_safetensors(path).status().message();
  const std::string prefix = path + ": ";
  EXPECT_EQ(disk_message.starts_with(prefix) ? "m: " + disk_message.substr(prefix.size()) : disk_message,
            message);
  return message.starts_with("m: ") ? message.substr(3) : message;
}

// The refusal of a header, with enough data for any tensor it may have.
std::string header_refusal(const std::string& header, int data_bytes = 6) {
  return refusal(file_bytes(header, data_bytes));
}

// A header with one tensor "a" of these fields.
std::string tensor_header(const std::string& fields) { return R"({"a":{)" + fields + "}}"; }

const SafetensorsFile kSmall = {.tensors = {{.name = "b", .shape = {2, 3}, .data = {0, 1, -2, 127, -128, 5}},
                                            {.name = "none", .shape = {4, 0}, .data = {}},
                                            {.name = "a \"q\" \xc3\xa9", .shape = {}, .data = {9}}},
                                .metadata = {{"arch", "egg"}, {"note", "tab\there"}}};

// Written out by hand from the format's definition.
const std::string kSmallHeader =
    R"({"__metadata__":{"arch":"egg","note":"tab\there"},)"
    R"("b":{"dtype":"I8","shape":[2,3],"data_offsets":[0,6]},)"
    R"("none":{"dtype":"I8","shape":[4,0],"data_offsets":[6,6]},)"
    "\"a \\\"q\\\" \xc3\xa9\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[6,7]}}";

TEST(Safetensors, WritesTheGoldenBytes) {
  const TempFolder folder;
  const std::string path = folder / "small.safetensors";
  ASSERT_TRUE(write_safetensors(path, kSmall).ok());
  std::string header = kSmallHeader;
  while (header.size() % 8 != 0) header += ' ';
  EXPECT_NE(header, kSmallHeader) << "the padding is not tested";
  const std::string data("\x00\x01\xfe\x7f\x80\x05\x09", 7);
  EXPECT_EQ(read_file(path, 1000).value(), length_bytes(header.size()) + header + data);
}

TEST(Safetensors, WritesAnEmptyFile) {
  EXPECT_EQ(safetensors_header({}, "m").value(), length_bytes(8) + "{}      ");
  EXPECT_EQ(parse_safetensors(file_bytes("{}      "), "m").value(), SafetensorsFile());
}

// A file as the Python library wrote it (safetensors 0.8), with
//   save_file({"w": numpy.arange(-3, 3, dtype="int8").reshape(2, 3), "b": numpy.array([7], dtype="int8")},
//             path, {"k": "v"})
TEST(Safetensors, ReadsThePythonLibrarysFileAndWritesTheSameBytes) {
  const std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
      R"("w":{"dtype":"I8","shape":[2,3],"data_offsets":[1,7]}}    )";
  const auto file = parse_safetensors(
      length_bytes(header.size()) + header + "\x07\xfd\xfe\xff" + std::string("\0\1\2", 3), "m");
  ASSERT_TRUE(file.ok()) << file.status().message();
  const SafetensorsFile expected = {
      .tensors = {{.name = "b", .shape = {1}, .data = {7}},
                  {.name = "w", .shape = {2, 3}, .data = {-3, -2, -1, 0, 1, 2}}},
      .metadata = {{"k", "v"}}};
  EXPECT_EQ(file.value(), expected);
  EXPECT_EQ(safetensors_header(expected, "m").value(), length_bytes(header.size()) + header);
}

TEST(Safetensors, RoundTripsThroughDisk) {
  const TempFolder folder;
  const std::string path = folder / "small.safetensors";
  ASSERT_TRUE(write_safetensors(path, kSmall).ok());
  const auto file = read_safetensors(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file.value(), kSmall);
}

TEST(Safetensors, KeepsTheOrderOfEmptyTensorsAmongOthers) {
  SafetensorsFile file;
  for (const std::string name : {"e1", "x", "e2", "e3", "y", "e4"}) {
    const bool empty = name[0] == 'e';
    file.tensors.push_back({.name = name, .shape = {empty ? 0 : 2}, .data = {}});
    if (!empty) file.tensors.back().data = {1, 2};
  }
  const auto header = safetensors_header(file, "m");
  EXPECT_EQ(parse_safetensors(header.value() + "\1\2\1\2", "m").value(), file);
}

TEST(Safetensors, OrdersTensorsByPlaceNotByHeader) {
  const auto file =
      parse_safetensors(file_bytes(R"({"late":{"shape":[1],"dtype":"I8","data_offsets":[2,3]},)"
                                   R"("early":{"data_offsets":[0,2],"dtype":"I8","shape":[2]}})",
                                   3),
                        "m");
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file.value().tensors.size(), 2u);
  EXPECT_EQ(file.value().tensors[0], (Tensor{.name = "early", .shape = {2}, .data = {0, 1}}));
  EXPECT_EQ(file.value().tensors[1], (Tensor{.name = "late", .shape = {1}, .data = {2}}));
}

TEST(SafetensorsRefusal, LengthOfTheHeader) {
  EXPECT_EQ(refusal(""), "has only 0 bytes" + kTruncated);
  EXPECT_EQ(refusal(length_bytes(2)), "has only 8 bytes" + kTruncated);
  EXPECT_EQ(refusal(length_bytes(std::uint64_t{1} << 60) + std::string(504, '{')),
            "header length 1152921504606846976 exceeds the file's 512 bytes" + kTruncated);
  EXPECT_EQ(refusal(length_bytes(UINT64_MAX) + "{}"),
            "header length 18446744073709551615 exceeds the file's 10 bytes" + kTruncated);
  EXPECT_EQ(refusal(length_bytes(3) + "{}"), "header length 3 exceeds the file's 10 bytes" + kTruncated);
  EXPECT_EQ(refusal(length_bytes(0) + "{}"), "the header does not begin with {" + kTruncated);
}

TEST(SafetensorsRefusal, HugeHeaderThatTheFileWouldHold) {
  const TempFolder folder;
  const std::string path = folder / "sparse";
  ASSERT_TRUE(write_file_atomically(path, length_bytes(100'000'001) + "{").ok());
  std::filesystem::resize_file(path, std::uintmax_t{1} << 30);  // a hole: takes no space
  EXPECT_EQ(read_safetensors(path).status().message(),
            path + ": header length 100000001 exceeds the limit of 100000000 bytes" + kTruncated);
}

TEST(SafetensorsRefusal, OtherFormats) {
  const std::string hint = ", not a safetensors file; convert it to safetensors first";
  EXPECT_EQ(refusal("GGUF\3" + std::string(20, '\0')), "is a GGUF file" + hint);
  EXPECT_EQ(refusal(std::string("PK\3\4\x14\0\0\0\0\0", 10)),
            "is a zip archive (perhaps of PyTorch or NumPy)" + hint);
  EXPECT_EQ(refusal("\x93NUMPY\1" + std::string(20, '\0')), "is a NumPy file" + hint);
  EXPECT_EQ(refusal("\x80\4\x95" + std::string(20, '\0')), "is a Python pickle" + hint);
  EXPECT_EQ(refusal("\x80\2K\1."), "is a Python pickle" + hint);
  EXPECT_EQ(refusal("some text, by mistake"),
            "header length 8675467939688574835 exceeds the file's 21 bytes" + kTruncated);
}

TEST(SafetensorsRefusal, Json) {
  EXPECT_EQ(header_refusal("[]"), "the header does not begin with {" + kTruncated);
  EXPECT_EQ(header_refusal("{\"a\":"), "the header is not JSON (at its byte 6)" + kDamaged);
  EXPECT_EQ(header_refusal("{}}"), "the header is not JSON (at its byte 3)" + kDamaged);
  EXPECT_EQ(header_refusal("{\"\xff\":{}}"), "the header is not JSON (at its byte 3)" + kDamaged);
  EXPECT_EQ(header_refusal(std::string("{}\0 junk", 8), 0),
            "the header has a 0 byte (its byte 2)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"a":1})"), R"("a" is a number, not an object)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"a":[]})"), R"("a" is an array, not an object)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"a":{"b":{}}})"), R"(tensor "a" has an object in its field "b")" + kDamaged);
}

TEST(SafetensorsRefusal, DeepNesting) {
  const int depth = 1'000'000;
  EXPECT_EQ(header_refusal(tensor_header(R"("shape":)" + std::string(depth, '['))),
            R"(tensor "a" has an array in its field "shape")" + kDamaged);
  std::string objects;
  for (int i = 0; i < depth; ++i) objects += R"({"x":)";
  EXPECT_EQ(header_refusal(objects), R"(tensor "x" has an object in its field "x")" + kDamaged);
}

TEST(SafetensorsRefusal, Metadata) {
  EXPECT_EQ(header_refusal(R"({"__metadata__":"x"})"),
            R"("__metadata__" is a string, not an object)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"__metadata__":{"k":1}})"),
            R"(metadata "k" is a number, not a string)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"__metadata__":{"k":{}}})"),
            R"(metadata "k" is an object, not a string)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"__metadata__":{"k":null}})"),
            R"(metadata "k" is null, not a string)" + kDamaged);
}

TEST(SafetensorsRefusal, KeysGivenTwice) {
  const std::string good = R"({"dtype":"I8","shape":[3],"data_offsets":[0,3]})";
  EXPECT_EQ(header_refusal(R"({"a":)" + good + R"(,"a":)" + good + "}"),
            R"(the header has the key "a" twice in one object)" + kDamaged);
  EXPECT_EQ(header_refusal(tensor_header(R"("dtype":"I8","dtype":"I8","shape":[],"data_offsets":[0,1])")),
            R"(the header has the key "dtype" twice in one object)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"__metadata__":{"k":"1","k":"2"}})"),
            R"(the header has the key "k" twice in one object)" + kDamaged);
  EXPECT_EQ(header_refusal(R"({"__metadata__":{},"__metadata__":{}})"),
            R"(the header has the key "__metadata__" twice in one object)" + kDamaged);
}

TEST(SafetensorsRefusal, Fields) {
  const auto field = [](const std::string& json) { return header_refusal(tensor_header(json)); };
  EXPECT_EQ(field(R"("dtype":"I8","shape":[3])"),
            R"(tensor "a" lacks dtype, shape or data_offsets)" + kDamaged);
  EXPECT_EQ(field(R"("dtype":8)"), R"(tensor "a" has a number in its field "dtype")" + kDamaged);
  EXPECT_EQ(field(R"("shape":"3")"), R"(tensor "a" has a string in its field "shape")" + kDamaged);
  EXPECT_EQ(field(R"("shape":[[3]])"), R"(tensor "a" has an array in its field "shape")" + kDamaged);
  EXPECT_EQ(field(R"("shape":[true])"), R"(tensor "a" has a boolean in its field "shape")" + kDamaged);
  EXPECT_EQ(field(R"("shape":[-3])"), R"(tensor "a" has a negative number in its field "shape")" + kDamaged);
  EXPECT_EQ(field(R"("shape":[3.0])"),
            R"(tensor "a" has a fraction or huge number in its field "shape")" + kDamaged);
  EXPECT_EQ(field(R"("shape":[18446744073709551616])"),
            R"(tensor "a" has a fraction or huge number in its field "shape")" + kDamaged);
  EXPECT_EQ(field(R"("color":"red")"), R"(tensor "a" has a string in its field "color")" + kDamaged);
  EXPECT_EQ(field(R"("color":[])"), R"(tensor "a" has an array in its field "color")" + kDamaged);
}

TEST(SafetensorsRefusal, Types) {
  const std::string hint = "; only I8 and I32 are supported; convert the model to int8 tensors first";
  EXPECT_EQ(header_refusal(tensor_header(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])")),
            R"(tensor "a" has dtype "F32")" + hint);
  EXPECT_EQ(header_refusal(tensor_header(R"("dtype":"i8\u0007","shape":[1],"data_offsets":[0,1])")),
            R"(tensor "a" has dtype "i8\u0007")" + hint);
}

TEST(SafetensorsRefusal, ShapesAndOffsets) {
  const auto placed = [](const std::string& shape, const std::string& offsets) {
    return header_refusal(
        tensor_header(R"("dtype":"I8","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]"));
  };
  EXPECT_EQ(placed("9223372036854775808", "0,6"),
            R"(tensor "a" has a dimension of 9223372036854775808)" + kDamaged);
  EXPECT_EQ(placed("4294967296,4294967296", "0,6"),
            R"(tensor "a" has a shape of more than 2^63 elements)" + kDamaged);
  EXPECT_EQ(placed("6", "0"), R"(tensor "a" has 1 data_offsets, not 2)" + kDamaged);
  EXPECT_EQ(placed("6", "0,6,6"), R"(tensor "a" has 3 data_offsets, not 2)" + kDamaged);
  EXPECT_EQ(placed("7", "0,7"), R"(tensor "a" ends at byte 7 of the data, which has 6)" + kTruncated);
  EXPECT_EQ(placed("5", "0,6"), R"(tensor "a" has 5 elements, but data_offsets [0, 6])" + kDamaged);
  EXPECT_EQ(placed("6", "6,0"), R"(tensor "a" has 6 elements, but data_offsets [6, 0])" + kDamaged);
  EXPECT_EQ(placed("7", "18446744073709551615,6"),
            R"(tensor "a" has 7 elements, but data_offsets [18446744073709551615, 6])" + kDamaged);
}

TEST(SafetensorsRefusal, GapsOverlapsAndTrailingBytes) {
  const auto two = [](const std::string& first, const std::string& second) {
    const std::string fields = R"("dtype":"I8","shape":[3],"data_offsets":)";
    return header_refusal(R"({"a":{)" + fields + first + R"(},"b":{)" + fields + second + "}}", 7);
  };
  EXPECT_EQ(two("[0,3]", "[4,7]"),
            R"(tensor "b" begins at byte 4 of the data, where byte 3 comes next)" + kDamaged);
  EXPECT_EQ(two("[0,3]", "[2,5]"),
            R"(tensor "b" begins at byte 2 of the data, where byte 3 comes next)" + kDamaged);
  EXPECT_EQ(two("[0,3]", "[0,3]"),
            R"(tensor "b" begins at byte 0 of the data, where byte 3 comes next)" + kDamaged);
  EXPECT_EQ(two("[4,7]", "[1,4]"),
            R"(tensor "b" begins at byte 1 of the data, where byte 0 comes next)" + kDamaged);
  EXPECT_EQ(two("[0,3]", "[3,6]"), "the tensors end at byte 6 of the data, which has 7" + kDamaged);
  EXPECT_EQ(header_refusal("{}", 1), "the tensors end at byte 0 of the data, which has 1" + kDamaged);
}

// However a good file is cut, it is refused: no prefix of it is another good file.
TEST(SafetensorsRefusal, EveryTruncation) {
  const std::string whole = safetensors_header(kSmall, "m").value() + std::string("\0\1\2\3\4\5\6", 7);
  ASSERT_TRUE(parse_safetensors(whole, "m").ok());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_safetensors(whole.substr(0, size), "m").ok()) << size;
  }
}

TEST(SafetensorsRefusal, ShowsLongAndStrangeNamesSafely) {
  const std::string message = header_refusal(R"({"\u001b[31m)" + std::string(1000, 'n') + R"(":1})");
  EXPECT_EQ(message,
            R"("\u001b[31m)" + std::string(75, 'n') + R"("... is a number, not an object)" + kDamaged);
}

TEST(SafetensorsRefusal, PathsThatAreNoFile) {
  const TempFolder folder;
  EXPECT_EQ(
      read_safetensors(folder / "none").status().message(),
      folder / "none" + ": cannot open it: No such file or directory; check the path; folders must exist");
  EXPECT_EQ(read_safetensors("/dev/null").status().message(),
            "/dev/null: is a pipe or a device, whose size is unknown; save it to a file first");
}

// Files of Linux's /sys claim 4096 bytes and give few: like a file that is cut while it is read.
TEST(SafetensorsRefusal, FilesThatBecomeShorter) {
  const std::string path = "/sys/kernel/mm/ksm/run";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path << " here";
  EXPECT_EQ(read_safetensors(path).status().message(),
            path + ": became shorter while it was read; try again when nothing writes it");
}

TEST(SafetensorsWriting, RefusesTextThatIsNotUtf8) {
  const std::string hint = " is not UTF-8; use UTF-8 text, as JSON needs it";
  const SafetensorsFile value = {.tensors = {}, .metadata = {{"k", "\xff"}}};
  EXPECT_EQ(safetensors_header(value, "m").status().message(), R"(m: metadata "k")" + hint);
  const SafetensorsFile key = {.tensors = {}, .metadata = {{"\xff", "v"}}};
  EXPECT_EQ(safetensors_header(key, "m").status().message(), R"(m: metadata "\ufffd")" + hint);
  const SafetensorsFile name = {.tensors = {{.name = "\xff", .shape = {}, .data = {0}}}, .metadata = {}};
  EXPECT_EQ(write_safetensors("/nowhere/m", name).message(),
            R"(/nowhere/m: the tensor name "\ufffd")" + hint);
}

TEST(SafetensorsWriting, RefusesAHeaderThatCouldNotBeReadBack) {
  const SafetensorsFile file = {.tensors = {}, .metadata = {{"k", std::string(100'000'000, 'x')}}};
  EXPECT_EQ(
      safetensors_header(file, "m").status().message(),
      "m: the header would have 100000032 bytes, over the limit of 100000000; store less metadata or fewer "
      "tensors");
}

TEST(SafetensorsWritingDeathTest, AbortsOnTensorsThatBreakTheirInvariants) {
  const Tensor good = {.name = "a", .shape = {1}, .data = {0}};
  const auto header_of = [](std::vector<Tensor> tensors) {
    return safetensors_header({.tensors = std::move(tensors), .metadata = {}}, "m").ok();
  };
  EXPECT_DEATH(header_of({good, good}), "name is its own");
  EXPECT_DEATH(header_of({{.name = "__metadata__", .shape = {1}, .data = {0}}}), "name is its own");
  EXPECT_DEATH(header_of({{.name = "a", .shape = {2}, .data = {0}}}), "data fills its shape");
}

}  // namespace
}  // namespace clutch
