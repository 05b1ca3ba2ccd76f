#include "tokenizer/testing/tiny_tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/utf8.h"

namespace flashmoe::testing {

using nlohmann::json;

std::string spell_bytes(std::string_view bytes) {
  const auto spells_itself = [](int byte) {
    return (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
  };
  std::string out;
  for (const char c : bytes) {
    const int byte = static_cast<unsigned char>(c);
    int code_point = byte;
    if (!spells_itself(byte)) {
      code_point = 0x100;
      for (int other = 0; other < byte; ++other) code_point += spells_itself(other) ? 0 : 1;
    }
    append_utf8(static_cast<char32_t>(code_point), out);
  }
  return out;
}

json tiny_byte_level(const std::vector<std::pair<std::string, std::string>>& merges) {
  json vocab = json::object();
  int id = 0;
  for (; id < 256; ++id) vocab[spell_bytes(std::string(1, static_cast<char>(id)))] = id;
  json merge_list = json::array();
  for (const auto& [left, right] : merges) {
    vocab[spell_bytes(left + right)] = id++;
    merge_list.push_back(spell_bytes(left) + " " + spell_bytes(right));
  }
  const json added = {{{"id", id}, {"content", "<|end|>"}, {"special", true}},
                      {{"id", id + 1}, {"content", "<think>"}, {"normalized", false}}};
  return {
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merge_list}}}};
}

json tiny_sentence_piece() {
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  int id = 3;
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = id++;
  for (const char* token : {"▁", "a", "b", "c", "é", "ab", "▁a", "▁ab"}) vocab[token] = id++;
  const json added = {{{"id", 0}, {"content", "<unk>"}, {"special", true}},
                      {{"id", 1}, {"content", "<s>"}, {"special", true}},
                      {{"id", 2}, {"content", "</s>"}, {"special", true}}};
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  const json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  const json single = json::array({{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                                   {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}});
  return {{"added_tokens", added},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "▁"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
          {"pre_tokenizer", nullptr},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", single},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders", {replace, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}, strip}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", json::array({json::array({"a", "b"}), json::array({"▁", "a"}),
                                    json::array({"▁", "ab"})})}}}};
}

std::unique_ptr<Tokenizer> load_tiny(const json& json, std::string_view config) {
  auto loaded = Tokenizer::from_json(json.dump(), config);
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  return loaded.ok() ? std::move(loaded).value() : nullptr;
}

}  // namespace flashmoe::testing
