#include "base/testing/without_root.h"

#include <unistd.h>

#include "base/check.h"

namespace flashmoe {

WithoutRoot::WithoutRoot() : was_root_(geteuid() == 0) {
  constexpr uid_t kNobody = 65534;
  if (was_root_) FM_CHECK(seteuid(kNobody) == 0);
}

WithoutRoot::~WithoutRoot() {
  if (was_root_) FM_CHECK(seteuid(0) == 0);
}

}  // namespace flashmoe
