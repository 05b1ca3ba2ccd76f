// How long schemas take to compile, and tokens to be held to them:
//   form_constraint_bench TOKENIZER_FOLDER CASES.json
// CASES.json is a list of {"name", "schema", "text"}; the text is one that the schema allows.
// Prints a line of JSON per case: microseconds to compile, and for each token of the text to find
// all tokens that may come. tools/compare_schemas.py makes the cases and asks other libraries the
// same.
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/form_constraint.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;
/// Of this thread's CPU time: others on the machine do not count.
double microseconds_now() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

double microseconds_since(double begin) { return microseconds_now() - begin; }

std::shared_ptr<const TokenTable> table_of(const Tokenizer& tokenizer) {
  std::vector<std::string> bytes(tokenizer.vocab_size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (tokenizer.is_token(id) && !tokenizer.is_special(id)) {
      bytes[i] = tokenizer.id_to_bytes(id).value();
    }
  }
  return std::make_shared<TokenTable>(std::move(bytes), std::vector<std::int32_t>());
}

Json measured(const Json& each, const Tokenizer& tokenizer,
              const std::shared_ptr<const TokenTable>& table) {
  Json out = {{"name", each["name"]}};
  const std::vector<std::int32_t> ids = tokenizer.encode(each["text"].get<std::string>()).value();
  const double begin = microseconds_now();
  auto form = std::make_shared<OutputForm>();
  std::vector<std::string> hints;
  const Result<SchemaNode::Id> node = compile_schema(each["schema"], {}, form->graph, hints);
  if (!node.ok()) {
    out["error"] = node.status().message();
    return out;
  }
  form->rules = {{{OutputForm::Value{*node}}}};
  FormConstraint constraint(table, form);
  out["compile_us"] = microseconds_since(begin);
  out["hints"] = hints;
  out["mask_us"] = Json::array();
  for (const std::int32_t id : ids) {
    const double asked = microseconds_now();
    const TokenMask& mask = constraint.mask();
    const auto index = static_cast<std::size_t>(id);
    if ((mask[index / 64] >> index % 64 & 1) == 0) {
      out["error"] = fmt::format("refuses token {} of the text", out["mask_us"].size());
      return out;
    }
    constraint.accept(id);
    out["mask_us"].push_back(microseconds_since(asked));
  }
  return out;
}

int run(const char* tokenizer_folder, const char* cases_path) {
  const auto tokenizer = Tokenizer::load(tokenizer_folder);
  std::ifstream file(cases_path);
  const Json cases =
      Json::parse(std::string(std::istreambuf_iterator<char>(file), {}), nullptr, false);
  if (!tokenizer.ok() || !cases.is_array()) {
    std::fprintf(stderr, "%s and %s: no tokenizer, or no cases\n", tokenizer_folder, cases_path);
    return 1;
  }
  const double begin = microseconds_now();
  const auto table = table_of(**tokenizer);
  std::printf("%s\n", Json{{"table_us", microseconds_since(begin)}}.dump().c_str());
  for (const Json& each : cases) {
    std::printf("%s\n", measured(each, **tokenizer, table).dump().c_str());
  }
  return 0;
}

}  // namespace
}  // namespace flashmoe

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: form_constraint_bench TOKENIZER_FOLDER CASES.json\n");
    return 1;
  }
  return flashmoe::run(argv[1], argv[2]);
}
