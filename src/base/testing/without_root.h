#ifndef FLASHMOE_BASE_TESTING_WITHOUT_ROOT_H_
#define FLASHMOE_BASE_TESTING_WITHOUT_ROOT_H_

namespace flashmoe {

/// While alive, a root user is nobody: root may read and write anything, which would hide a missing
/// permission from a test.
class WithoutRoot {
 public:
  WithoutRoot();
  WithoutRoot(const WithoutRoot&) = delete;
  WithoutRoot& operator=(const WithoutRoot&) = delete;
  ~WithoutRoot();

 private:
  bool was_root_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_TESTING_WITHOUT_ROOT_H_
