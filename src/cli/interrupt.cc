#include "cli/interrupt.h"

namespace flashmoe::cli {
namespace {

static_assert(std::atomic<bool>::is_always_lock_free);  // a handler may touch no other
static_assert(std::atomic<int>::is_always_lock_free);

std::atomic<bool> g_is_interrupted = false;
std::atomic<int> g_signal = 0;
std::atomic<int> g_left_to_note = 0;

void note_signal(int signal) {
  if (g_left_to_note.fetch_sub(1) > 0) {
    g_signal = signal;
    g_is_interrupted = true;
    return;
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // comes when this handler returns
}

}  // namespace

InterruptGuard::InterruptGuard(std::initializer_list<int> signals, int noted) {
  g_is_interrupted = false;
  g_signal = 0;
  g_left_to_note = noted;
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
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

const std::atomic<bool>* InterruptGuard::flag() const { return &g_is_interrupted; }

int InterruptGuard::exit_code() const { return 128 + g_signal; }

}  // namespace flashmoe::cli
