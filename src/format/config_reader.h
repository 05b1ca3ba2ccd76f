#ifndef FLASHMOE_FORMAT_CONFIG_READER_H_
#define FLASHMOE_FORMAT_CONFIG_READER_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// The name of a field, or its spellings in order of preference: the first that is present counts.
/// "a.b" is field b of object a. Meant for literals: refers to the characters, does not copy them.
class FieldNames {
 public:
  FieldNames(const char* name) : names_{name} {}                                // NOLINT
  FieldNames(std::string_view name) : names_{name} {}                           // NOLINT
  FieldNames(std::initializer_list<std::string_view> names) : names_(names) {}  // NOLINT

  const std::vector<std::string_view>& names() const { return names_; }

 private:
  std::vector<std::string_view> names_;
};

/// Typed access to the fields of a config.json that trusts none of them:
///
///   FM_ASSIGN_OR_RETURN(const auto hidden_size, reader.uint("hidden_size", 1, 1 << 20));
///   FM_ASSIGN_OR_RETURN(const double rope_theta,
///                       reader.number({"rope_theta", "rope_parameters.rope_theta"}, 1, 1e12));
///   FM_ASSIGN_OR_RETURN(const bool tied, reader.boolean_or("tie_word_embeddings", false));
///
/// A field that is null counts as absent. Errors name the file, the field, what was found and what
/// is expected: kNotFound for an absent field, kCorrupt for a wrong type or a value out of range.
/// Refers to the JSON, which must outlive it. Bounds are inclusive.
class ConfigReader {
 public:
  /// `file` is for messages; so is `prefix`, the place of `object` in the file ("" or "a.b.").
  ConfigReader(const nlohmann::json& object, std::string file, std::string prefix = {})
      : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  /// True if the field is present and not null.
  bool has(const FieldNames& field) const;

  Result<std::uint64_t> uint(const FieldNames& field, std::uint64_t min, std::uint64_t max) const;
  Result<std::uint64_t> uint_or(const FieldNames& field, std::uint64_t fallback, std::uint64_t min,
                                std::uint64_t max) const;

  /// Whole or not, always finite.
  Result<double> number(const FieldNames& field, double min, double max) const;
  Result<double> number_or(const FieldNames& field, double fallback, double min, double max) const;

  Result<bool> boolean(const FieldNames& field) const;
  Result<bool> boolean_or(const FieldNames& field, bool fallback) const;

  Result<std::string> string(const FieldNames& field) const;
  Result<std::string> string_or(const FieldNames& field, std::string fallback) const;

  /// A list of numbers, or one number alone (eos_token_id is written both ways). An absent field is
  /// an error: ask has() first where it is optional.
  Result<std::vector<std::uint64_t>> uint_list(const FieldNames& field, std::uint64_t min,
                                               std::uint64_t max) const;
  Result<std::vector<std::string>> string_list(const FieldNames& field) const;
  /// A list of finite numbers.
  Result<std::vector<double>> number_list(const FieldNames& field, double min, double max) const;

  /// A reader for the fields of an object inside this one.
  Result<ConfigReader> object(const FieldNames& field) const;

  /// An error about a field whose value is well-formed but unusable: "FILE: FIELD: REASON".
  Status reject(StatusCode code, const FieldNames& field, std::string_view reason) const;

 private:
  struct Found {
    std::string_view name;
    const nlohmann::json* value = nullptr;  // null if no spelling is present
  };
  Found find(const FieldNames& field) const;
  Result<Found> require(const FieldNames& field, std::string_view expected) const;
  Status wrong(std::string_view name, const nlohmann::json& value, std::string_view expected) const;
  Result<std::uint64_t> as_uint(std::string_view name, const nlohmann::json& value,
                                std::uint64_t min, std::uint64_t max) const;
  Result<double> as_number(std::string_view name, const nlohmann::json& value, double min,
                           double max) const;

  const nlohmann::json* object_;
  std::string file_;
  std::string prefix_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_CONFIG_READER_H_
