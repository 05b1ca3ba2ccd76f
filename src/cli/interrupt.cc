#include "cli/interrupt.h"

namespace flashmoe::cli {
namespace {

volatile std::sig_atomic_t g_signal = 0;

}  // namespace

InterruptGuard::InterruptGuard(std::initializer_list<int> signals) {
  g_signal = 0;
  struct sigaction action = {};
  action.sa_handler = [](int signal) { g_signal = signal; };
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  for (const int signal : signals) {
    struct sigaction previous = {};
    sigaction(signal, nullptr, &previous);
    if (previous.sa_handler == SIG_IGN) continue;  // as nohup wants it
    sigaction(signal, &action, nullptr);
    previous_.emplace_back(signal, previous);
  }
}

InterruptGuard::~InterruptGuard() {
  for (const auto& [signal, previous] : previous_) sigaction(signal, &previous, nullptr);
}

bool InterruptGuard::interrupted() const { return g_signal != 0; }

int InterruptGuard::exit_code() const { return 128 + g_signal; }

}  // namespace flashmoe::cli
