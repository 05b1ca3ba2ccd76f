#include "server/chat_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace flashmoe::server {
namespace {

constexpr std::int64_t kTokensMax = std::int64_t{1} << 31;
constexpr std::size_t kStopsMax = 64;
constexpr std::int64_t kChoicesMax = 64;

std::optional<std::size_t> count(std::optional<std::int64_t> value) {
  if (!value) return std::nullopt;
  return static_cast<std::size_t>(*value);
}

/// Any integer of 64 bits, signed or not; -1 is how clients ask for another one each time.
std::optional<std::uint64_t> read_seed(Fields& fields) {
  const Json* const seed = fields.find("seed");
  if (seed == nullptr) return std::nullopt;
  if (seed->is_number_unsigned()) return seed->get<std::uint64_t>();
  if (seed->is_number_integer()) {
    const auto value = seed->get<std::int64_t>();
    return value == -1 ? std::nullopt : std::optional(static_cast<std::uint64_t>(value));
  }
  if (seed->is_number()) {
    // Written as 5.0 or 1e3, or too large for an integer of JSON's reader.
    const auto value = seed->get<double>();
    if (value >= -0x1p63 && value < 0x1p64 && std::trunc(value) == value) {
      if (value == -1) return std::nullopt;
      return value < 0 ? static_cast<std::uint64_t>(static_cast<std::int64_t>(value))
                       : static_cast<std::uint64_t>(value);
    }
  }
  fields.fail("seed", fmt::format("{} is no integer from {} to {}", dump(*seed),
                                  std::numeric_limits<std::int64_t>::min(),
                                  std::numeric_limits<std::uint64_t>::max()));
  return std::nullopt;
}

/// {"50256": -100} or [[50256, -100], ...]
void read_logit_bias(Fields& fields, GenerationSettings& settings) {
  const Json* const biases = fields.find("logit_bias");
  if (biases == nullptr) return;
  if (!biases->is_object()) return fields.fail("logit_bias", "must be an object of token ids");
  for (const auto& [key, value] : biases->items()) {
    std::int32_t id = 0;
    const auto [end, failure] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (failure != std::errc() || end != key.data() + key.size() || id < 0) {
      return fields.fail("logit_bias", fmt::format("{} is no token id", key));
    }
    if (!value.is_number() || value.get<double>() < -100 || value.get<double>() > 100) {
      return fields.fail("logit_bias", fmt::format("of {} must be from -100 to 100", key));
    }
    settings.logit_bias.emplace_back(id, value.get<double>());
  }
}

void append_paragraph(Json& message, const std::string& text) {
  std::string& content = message.at("content").get_ref<std::string&>();
  if (!content.empty()) content += "\n\n";
  content += text;
}

}  // namespace

GenerationSettings read_settings(Fields& fields) {
  GenerationSettings settings;
  settings.temperature = fields.number("temperature", 0, 100);
  settings.top_p = fields.number("top_p", 0, 1);
  settings.min_p = fields.number("min_p", 0, 1);
  // Some clients write -1 for "all".
  if (const auto top_k = fields.integer("top_k", -1, 1 << 30)) {
    settings.top_k = static_cast<std::size_t>(std::max<std::int64_t>(*top_k, 0));
  }
  settings.repeat_penalty = fields.number("repeat_penalty", 0.01, 100);
  if (!settings.repeat_penalty) {
    settings.repeat_penalty = fields.number("repetition_penalty", 0.01, 100);
  }
  if (const auto window = fields.integer("repeat_last_n", -1, 1 << 20)) {
    settings.repeat_window = *window < 0 ? std::size_t{1} << 20 : static_cast<std::size_t>(*window);
  }
  settings.presence_penalty = fields.number("presence_penalty", -2, 2);
  settings.frequency_penalty = fields.number("frequency_penalty", -2, 2);
  settings.seed = read_seed(fields);
  read_logit_bias(fields, settings);
  settings.stop = fields.texts("stop", kStopsMax);
  std::erase(settings.stop, std::string());
  settings.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  settings.max_tokens = count(fields.integer("max_completion_tokens", 0, kTokensMax));
  if (!settings.max_tokens)
    settings.max_tokens = count(fields.integer("max_tokens", -1, kTokensMax));
  if (!settings.max_tokens)
    settings.max_tokens = count(fields.integer("n_predict", -1, kTokensMax));
  // -1 is how llama-server's clients say "no limit".
  if (settings.max_tokens == static_cast<std::size_t>(-1)) settings.max_tokens = std::nullopt;
  return settings;
}

ApiError nothing_to_answer(const char* field) {
  return bad_request(
      field,
      fmt::format("{}: there is nothing to answer, only an assistant's empty message", field));
}

std::size_t read_choices(Fields& fields) {
  return count(fields.integer("n", 1, kChoicesMax)).value_or(1);
}

void drop_choice_of(const std::vector<std::string>& left_out, ChatRequest& request,
                    std::vector<std::string>& notes) {
  ToolChoice& choice = request.tool_choice;
  if (left_out.empty() || choice.kind != ToolChoice::Kind::kRequired) return;
  const auto is_left_out = [&](const std::string& name) {
    return std::ranges::find(left_out, name) != left_out.end();
  };
  const bool has_any = !choice.allowed.empty() ? !std::ranges::all_of(choice.allowed, is_left_out)
                                               : !request.tools.empty();
  if (has_any) return;
  choice = {ToolChoice::Kind::kNone, {}};
  notes.push_back(
      fmt::format("tool_choice: asks for what a provider runs ({}); this server calls none of it",
                  fmt::join(left_out, ", ")));
}

bool ToolChoice::allows(std::string_view name) const {
  return allowed.empty() || std::ranges::find(allowed, name) != allowed.end();
}

void normalize_messages(Json& messages) {
  Json kept = Json::array();
  for (Json& message : messages) {
    const std::string role = message.at("role").get<std::string>();
    const bool is_empty = message.at("content") == "";
    const bool is_first = kept.empty();
    if (role == "assistant" && is_empty && !message.contains("tool_calls") &&
        !message.contains("reasoning_content")) {
      continue;
    }
    if (role == "system" && !is_first && is_empty) continue;
    if (role == "system" && kept.size() == 1 && kept.front().at("role") == "system") {
      append_paragraph(kept.front(), message.at("content").get<std::string>());
    } else {
      kept.push_back(std::move(message));
    }
  }
  messages = std::move(kept);
}

void fold_system_messages(Json& messages) {
  Json folded = Json::array();
  bool awaits_user = false;  // the last turn is a system message's alone
  for (Json& message : messages) {
    const std::string role = message.at("role").get<std::string>();
    if (role == "system" && !folded.empty()) {
      message["role"] = "user";
      message["content"] =
          fmt::format("<system>\n{}\n</system>", message["content"].get<std::string>());
    }
    const bool is_marked = role == "system" && message["role"] == "user";
    const bool follows_user = !folded.empty() && folded.back().at("role") == "user";
    if (follows_user && (is_marked || (role == "user" && awaits_user))) {
      append_paragraph(folded.back(), message["content"].get<std::string>());
      awaits_user &= is_marked;
    } else {
      folded.push_back(std::move(message));
      awaits_user = is_marked;
    }
  }
  messages = std::move(folded);
}

}  // namespace flashmoe::server
