#ifndef FLASHMOE_TOKENIZER_JINJA_AST_H_
#define FLASHMOE_TOKENIZER_JINJA_AST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace flashmoe::jinja {

enum class Operator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Argument {
  enum class Kind : std::uint8_t { kPositional, kNamed, kSpreadList, kSpreadDict };
  Kind kind = Kind::kPositional;
  std::string name{};  // kNamed
  ExpressionPtr value{};
};

/// A node of an expression tree. `operands` hold, by kind:
struct Expression {
  enum class Kind : std::uint8_t {
    kLiteral,      // none: `value`
    kName,         // none: `value` is the name
    kList,         // the items
    kTuple,        // the items
    kDict,         // key, value, key, value, ...
    kAttribute,    // object; `value` is the attribute's name
    kItem,         // object, subscript
    kSlice,        // object, start, stop, step; the last three may be null
    kCall,         // callee; `arguments`
    kFilter,       // filtered (null inside filter blocks); `value` is the name; `arguments`
    kTest,         // tested; `value` is the name; `arguments`
    kNot,          // one
    kNegate,       // one
    kPlus,         // one
    kArithmetic,   // left, right; operators[0]
    kComparison,   // a, b, c, ... with operators[i] between operand i and i + 1
    kAnd,          // left, right
    kOr,           // left, right
    kConcat,       // the parts of a ~ b ~ c
    kConditional,  // condition, then, else (may be null)
  };
  Kind kind = Kind::kLiteral;
  int line = 0;
  int depth = 1;  // height of this tree
  Value value{};
  std::vector<ExpressionPtr> operands{};
  std::vector<Operator> operators{};
  std::vector<Argument> arguments{};
};

/// What `set` and `for` assign to: a name, `name.attribute` of a namespace, or several of these.
struct Target {
  enum class Kind : std::uint8_t { kName, kAttribute, kTuple };
  Kind kind = Kind::kName;
  Value name{};
  Value attribute{};
  std::vector<Target> items{};
};

struct Statement;
using Body = std::vector<std::unique_ptr<const Statement>>;

struct Branch {
  ExpressionPtr condition{};  // null for else
  Body body{};
};

struct Parameter {
  std::string name{};
  ExpressionPtr fallback{};  // null: undefined when not given
};

struct Statement {
  enum class Kind : std::uint8_t {
    kText,         // `text`
    kOutput,       // `expression`
    kIf,           // `branches`
    kFor,          // for `target` in `expression` if `condition`: `body`, else `otherwise`
    kSet,          // `target` = `expression`
    kSetBlock,     // `target` = `body` through `filters`
    kMacro,        // `name`, `parameters`, `body`
    kCallBlock,    // `expression` (a call) with a caller of `parameters` and `body`
    kFilterBlock,  // `body` through `filters`
    kScopedBlock,  // `body` in a scope of its own with `targets` = `values`: with, generation
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  int line = 0;
  MarkedText text{};
  std::string name{};
  ExpressionPtr expression{};
  ExpressionPtr condition{};
  bool is_recursive = false;
  bool takes_varargs = false;  // a macro whose body names varargs, kwargs or caller takes them
  bool takes_kwargs = false;
  bool takes_caller = false;
  Target target{};
  std::vector<Target> targets{};
  std::vector<ExpressionPtr> values{};
  std::vector<ExpressionPtr> filters{};  // kFilter nodes without a filtered operand, first first
  std::vector<Parameter> parameters{};
  std::vector<Branch> branches{};
  Body body{};
  Body otherwise{};
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_AST_H_
