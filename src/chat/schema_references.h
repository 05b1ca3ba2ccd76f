#ifndef FLASHMOE_CHAT_SCHEMA_REFERENCES_H_
#define FLASHMOE_CHAT_SCHEMA_REFERENCES_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace flashmoe {

/// Finds what a schema's $ref leads to within its document: JSON pointers, percent-encoded or not,
/// and the names that $anchor, $id and id give.
class SchemaReferences {
 public:
  /// `document` must outlive this.
  explicit SchemaReferences(const nlohmann::ordered_json& document);

  enum class Outcome : std::uint8_t { kFound, kNowhere, kElsewhere };
  struct Target {
    Outcome outcome = Outcome::kNowhere;  // kElsewhere: in another document
    const nlohmann::ordered_json* schema = nullptr;
    std::string place;
  };
  Target find(const std::string& reference) const;

 private:
  void collect(const nlohmann::ordered_json& value, const std::string& place, std::size_t depth);
  Target find_pointer(const nlohmann::ordered_json& from, const std::string& place,
                      const std::string& pointer) const;

  struct Named {
    const nlohmann::ordered_json* schema = nullptr;
    std::string place;
  };
  const nlohmann::ordered_json& document_;
  std::map<std::string, Named, std::less<>> names_;
  std::map<std::string, Named, std::less<>> anchors_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_SCHEMA_REFERENCES_H_
